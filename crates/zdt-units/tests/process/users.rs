//! Processes of another user, which takes root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::unistd::{User, geteuid};
use zdt_units::host::supervisor::Exit;
use zdt_units::model::{CredentialName, PathText, Text, UserName};

use super::{printed, quiet, shell, soon, start, try_start};

/// There on every machine.
const OTHER: &str = "nobody";

#[tokio::test]
async fn a_user_that_is_not_there_or_not_allowed_is_refused_with_the_way_out() {
    let output = quiet();
    let mut launch = shell("exit 0");
    launch.user = Some(UserName::parse("zdt-nowhere").unwrap());
    assert_eq!(
        try_start(&launch, &output).unwrap_err().to_string(),
        "there is no user `zdt-nowhere`: create it with `useradd --system zdt-nowhere`"
    );
    if !geteuid().is_root() {
        launch.user = Some(UserName::parse("root").unwrap());
        assert_eq!(
            try_start(&launch, &output).unwrap_err().to_string(),
            "it is to run as `root`, and only root can do that: run the launcher as root or as `root`, \
             or take `user` out of `zdt.toml`"
        );
    }
}

#[tokio::test]
async fn as_another_user_a_process_has_that_ones_rights_and_its_own_secrets() {
    if !geteuid().is_root() {
        println!("ignored (needs root)");
        return;
    }
    let other = User::from_name(OTHER).unwrap().unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "of root\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();

    let output = quiet();
    // The helper has to be reached by that user too: it becomes the user and stays the same file.
    let mut launch = shell(
        "id -un; id -gn; id -Gn | wc -w; echo $USER $HOME; cat $CREDENTIALS_DIRECTORY/token; \
         cat $FORBIDDEN 2>&- || echo forbidden; echo again > /dev/stdout; echo $(($$ == LISTEN_PID))",
    );
    launch.user = Some(UserName::parse(OTHER).unwrap());
    launch.environment = vec![("FORBIDDEN".to_owned(), secret.display().to_string())];
    let path = PathText::parse(Text::literal(secret.to_str().unwrap())).unwrap();
    launch.credentials = vec![(CredentialName::parse("token").unwrap(), path)];
    launch.runtime = Some(directory.path().to_owned());
    launch.working_directory = Some("/".into());
    let mut process = start(&launch, &output);
    assert_eq!(soon("its end", process.exited()).await, Exit::Code(0));
    let group = nix::unistd::Group::from_gid(other.gid).unwrap().unwrap();
    let home = other.dir.display();
    assert_eq!(
        printed(&output),
        [
            OTHER,
            &group.name,
            "1",
            &format!("{OTHER} {home}"),
            "of root",
            "forbidden",
            "again",
            "1",
        ]
    );

    let place = directory.path().join("credentials/shop@2.service");
    let found = fs::metadata(place.join("token")).unwrap();
    assert_eq!(
        (found.uid(), found.mode() & 0o777),
        (other.uid.as_raw(), 0o400)
    );
    let found = fs::metadata(&place).unwrap();
    assert_eq!(
        (found.uid(), found.mode() & 0o777),
        (other.uid.as_raw(), 0o700)
    );
    drop(process);
    assert!(!place.exists());
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_starts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output = quiet();
    let mut launch = shell("exit 0");
    let path = PathText::parse(Text::literal("/nowhere/secret")).unwrap();
    launch.credentials = vec![(CredentialName::parse("token").unwrap(), path)];
    assert_eq!(
        try_start(&launch, &output).unwrap_err().to_string(),
        "it has credentials, and there is no directory to put them in: start it from `zdt.toml`"
    );
    launch.runtime = Some(directory.path().to_owned());
    assert_eq!(
        try_start(&launch, &output).unwrap_err().to_string(),
        "failed to read the credential `token` from `/nowhere/secret`: No such file or directory (os error 2)"
    );
    assert!(!directory.path().join("credentials").exists());
}
