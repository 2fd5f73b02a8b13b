//! What of the findings counts where a launcher runs the services, and how it is mended there.

use super::Finding;

/// Others are about unit files, and about what systemd does with them.
const COUNT: &[&str] = &[
    "ZDT-D006", "ZDT-D007", "ZDT-D008", "ZDT-D010", "ZDT-D011", "ZDT-D012", "ZDT-D022", "ZDT-D032",
    "ZDT-D040", "ZDT-D041", "ZDT-D042", "ZDT-D045", "ZDT-D046", "ZDT-D061", "ZDT-D062", "ZDT-D063",
    "ZDT-D064", "ZDT-D065", "ZDT-D066", "ZDT-D067", "ZDT-D068", "ZDT-D070", "ZDT-D080",
];

/// Those of `found` that count, each with its command.
pub(super) fn adapted(found: Vec<Finding>) -> Vec<Finding> {
    let counts = |finding: &Finding| COUNT.contains(&finding.code);
    let found = found.into_iter().filter(counts);
    found
        .map(|finding| {
            let what = match finding.code {
                "ZDT-D006" => format!("the launcher has no unit `{}`", finding.about),
                _ => finding.what.clone(),
            };
            let fix = mended(&finding).unwrap_or(finding.fix);
            Finding {
                what,
                fix,
                ..finding
            }
        })
        .collect()
}

/// `None`: as elsewhere.
fn mended(finding: &Finding) -> Option<String> {
    let about = &finding.about;
    Some(match finding.code {
        "ZDT-D006" => "`zdt-units restart` lets the launcher read `zdt.toml`".to_owned(),
        "ZDT-D007" => format!("`zdt-units unit start {about}`"),
        "ZDT-D008" => {
            format!("`zdt-units unit restart {about}`; it refuses clients for that moment")
        }
        "ZDT-D011" => format!(
            "`zdt-units unit restart {about}`; if that does not help, the program closes what it is given"
        ),
        "ZDT-D022" => "name the program itself in `exec`, or write `exec` before it".to_owned(),
        "ZDT-D032" => format!("`zdt-units logs {about}` says why"),
        "ZDT-D061" => format!("`zdt-units unit stop {about}`"),
        "ZDT-D062" => format!("`zdt-units restart {about}`"),
        "ZDT-D063" => "`open_files = 65536` in `zdt.toml`".to_owned(),
        "ZDT-D064" => format!("`zdt-units logs {about}`; a restart would wait for it and fail"),
        _ => return None,
    })
}
