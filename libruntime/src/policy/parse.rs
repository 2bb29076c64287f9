//! Every written form of a policy → [`Policy`].
