//! Which of the ids that newuidmap(1) and newgidmap(1) would not map the user was not given (subuid(5), subgid(5)): they name one of one
//! list, the first that they come to.

use crate::{Error, text};
use nix::unistd::{Gid, Uid, User};
use std::path::Path;

/// Every mapping of the lines of uid_map and gid_map that the files do not grant. Asked of who was refused: ids may come from another
/// source than these files (nsswitch.conf(5), `subid`).
pub(super) fn lacking(uid: &str, gid: &str) -> Vec<Error> {
    let Ok(Some(user)) = User::from_uid(Uid::current()) else { return Vec::new() };
    let lists = [
        ("/etc/subgid", "gidMappings", gid, Gid::current().as_raw(), "newgidmap"),
        ("/etc/subuid", "uidMappings", uid, user.uid.as_raw(), "newuidmap"),
    ];
    let of_list = |(file, list, lines, own, program)| {
        let Ok(grants) = text::lossy(Path::new(file)) else { return Vec::new() };
        let grants = of(&grants, &user.name, user.uid.as_raw());
        let say = |(i, [first, last]): (usize, [u64; 2])| {
            let ids = if first == last { format!("id {first}") } else { format!("ids {first} to {last}") };
            Error::new(format!("`{program}` does not map these ids: `{file}` does not grant `{}` the {ids}", user.name))
                .at(format!("config.json: linux.{list}[{i}]"))
                .hint(format!("{file} says which ids the user may have"))
        };
        beyond(lines, own, &grants).into_iter().map(say).collect()
    };
    lists.into_iter().flat_map(of_list).collect()
}

/// Ranges that a user has by its name or number, each with the id behind it.
fn of(file: &str, name: &str, uid: u32) -> Vec<[u64; 2]> {
    let uid = uid.to_string();
    let range = |line: &str| {
        let mut fields = line.split(':');
        fields.next().filter(|owner| *owner == name || *owner == uid)?;
        let [first, count] = [fields.next()?, fields.next()?].map(|number| number.trim().parse::<u64>().ok());
        Some([first?, first?.saturating_add(count?)])
    };
    file.lines().filter_map(range).collect()
}

/// Mappings, by their number, with the first and the last of their ids outside, of which some are in no range. Its own id everybody may map.
fn beyond(lines: &str, own: u32, grants: &[[u64; 2]]) -> Vec<(usize, [u64; 2])> {
    let mapping = |line: &str| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [_, first, count] = numbers[..] else { return None };
        Some([first, first + count])
    };
    let is_granted = |[mut at, end]: [u64; 2]| {
        while let Some([_, behind]) = grants.iter().find(|[first, behind]| (*first..*behind).contains(&at)) {
            at = *behind;
        }
        at >= end
    };
    let all = lines.lines().filter_map(mapping).enumerate();
    let lost =
        all.filter(|(_, [first, end])| [*first, *end] != [u64::from(own), u64::from(own) + 1] && !is_granted([*first, *end]));
    lost.map(|(i, [first, end])| (i, [first, end.saturating_sub(1)])).collect()
}

#[cfg(test)]
mod tests {
    use super::{beyond, of};

    #[test]
    fn a_mapping_is_granted_by_the_ranges_of_the_user_together() {
        let file = "root:1:9\nada:100000:1000\n1001:101000:1000\n# ada:0:1\nada:x:1\nada:5\nada:300:18446744073709551615\n";
        let grants = of(file, "ada", 1001);
        assert_eq!(grants, [[100_000, 101_000], [101_000, 102_000], [300, u64::MAX]]);
        let lines = "0 1001 1\n1 100000 2000\n9000 99999 2\n9100 101999 2\n9200 1001 2\n";
        let lost = beyond(lines, 1001, &grants[..2]);
        assert_eq!(lost, [(2, [99_999, 100_000]), (3, [101_999, 102_000]), (4, [1001, 1002])]);
        assert_eq!(beyond("0 5 1\n", 1001, &[]), [(0, [5, 5])]);
    }
}
