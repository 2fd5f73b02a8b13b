//! What a file has and what it would have, line by line.

use std::path::Path;

/// Empty if there is no difference.
pub(crate) fn listing(path: &Path, there: Option<&str>, wanted: &str) -> String {
    let path = path.display();
    let Some(there) = there else {
        return format!("`{path}` is missing\n");
    };
    if there == wanted {
        return String::new();
    }
    let mut out = format!("`{path}` differs (- as it is, + as it would be written)\n");
    let there: Vec<_> = there.lines().collect();
    let wanted: Vec<_> = wanted.lines().collect();
    let common = common_lines(&there, &wanted);
    let (mut left, mut right) = (0, 0);
    for (l, r) in common.into_iter().chain([(there.len(), wanted.len())]) {
        out.extend(there[left..l].iter().map(|line| format!("-{line}\n")));
        out.extend(wanted[right..r].iter().map(|line| format!("+{line}\n")));
        (left, right) = (l + 1, r + 1);
    }
    out
}

/// Indices of a longest common subsequence.
fn common_lines(left: &[&str], right: &[&str]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0_u32; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            longest[l][r] = match left[l] == right[r] {
                true => longest[l + 1][r + 1] + 1,
                false => longest[l + 1][r].max(longest[l][r + 1]),
            };
        }
    }
    let (mut l, mut r) = (0, 0);
    let mut common = Vec::new();
    while l < left.len() && r < right.len() {
        if left[l] == right[r] {
            common.push((l, r));
            (l, r) = (l + 1, r + 1);
        } else if longest[l + 1][r] >= longest[l][r + 1] {
            l += 1;
        } else {
            r += 1;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(there: Option<&str>, wanted: &str, expected: &str) {
        assert_eq!(listing(Path::new("/x/a.service"), there, wanted), expected);
    }

    #[test]
    fn only_lines_that_differ_are_listed() {
        check(Some("a\nb\n"), "a\nb\n", "");
        check(None, "a\n", "`/x/a.service` is missing\n");
        check(
            Some("a\nb\nc\nd\n"),
            "a\nx\nc\nd\ne\n",
            "`/x/a.service` differs (- as it is, + as it would be written)\n-b\n+x\n+e\n",
        );
    }
}
