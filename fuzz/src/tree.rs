//! The members of a JSON text, also those that stand twice, to be found by the paths that sentences have.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

pub enum Tree {
    Table(Vec<(String, Tree)>),
    List(Vec<Tree>),
    Other,
}

impl Tree {
    /// `None` where a name has escapes, which a path has too, or the text is none.
    pub fn of(text: &[u8]) -> Option<Tree> {
        if text.contains(&b'\\') { None } else { serde_json::from_slice(text).ok() }
    }

    /// `mounts[3].options`.
    pub fn has(&self, path: &str) -> bool {
        path.is_empty() || self.below(&format!(".{path}"))
    }

    fn below(&self, path: &str) -> bool {
        let rest = |tree: &Tree, rest: Option<&str>| rest.is_some_and(|rest| rest.is_empty() || tree.below(rest));
        match self {
            Tree::Table(members) => members.iter().any(|(name, tree)| rest(tree, path.strip_prefix(&format!(".{name}")))),
            Tree::List(items) => items.iter().enumerate().any(|(i, tree)| rest(tree, path.strip_prefix(&format!("[{i}]")))),
            Tree::Other => false,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Tree, M::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Table(members))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Tree, S::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
}
