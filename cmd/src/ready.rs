//! What codexrun's proxy says first.

/// Its word that it serves; behind it the descriptor of its book of clients, if it has one.
const READY: &str = "ready";

/// The descriptor, of a line that says that it serves.
///
/// # Errors
/// The line is another one: why it does not, or nothing.
pub fn ready(line: &str) -> Result<Option<u32>, &str> {
    let book = line.strip_suffix('\n').and_then(|line| line.strip_prefix(READY)).ok_or(line.trim())?;
    match book.strip_prefix(' ').map(|text| (text, text.parse::<u32>())) {
        None if book.is_empty() => Ok(None),
        // A path is made of it.
        Some((text, Ok(number))) if number.to_string() == text => Ok(Some(number)),
        _ => Err(line.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::ready;

    #[test]
    fn it_serves_only_when_its_whole_line_says_so() {
        assert_eq!((ready("ready\n"), ready("ready 7\n")), (Ok(None), Ok(Some(7))));
        for line in ["", "ready", "ready 1", "ready \n", "ready 7 \n", "ready +7\n", "ready 1/../../1/fd/2\n", "already\n"] {
            assert_eq!(ready(line), Err(line.trim()), "{line:?}");
        }
        assert_eq!(ready("the proxy cannot listen: EPERM\n"), Err("the proxy cannot listen: EPERM"));
    }
}
