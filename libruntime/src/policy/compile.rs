//! compile(policy, view) → bundle.
