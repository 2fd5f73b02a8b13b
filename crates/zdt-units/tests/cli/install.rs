//! Installed into a root and cleared out of it.

use std::fs;
use std::path::Path;

use super::{SHOP, directory_with, transcript};

/// An image: no manager, and the second time nothing to do.
#[test]
fn an_image_is_installed_into_compared_and_cleared() {
    let directory = directory_with(SHOP);
    let mut said = String::new();
    for arguments in [
        &["install", "--root", "image", "--dry-run"][..],
        &["install", "--root", "image", "--check"],
        &["install", "--root", "image"],
        &["install", "--root", "image", "--check"],
        &["install", "--root", "image"],
    ] {
        said.push_str(&steady(&transcript(directory.path(), arguments)));
    }
    let units = directory.path().join("image/etc/systemd/system");
    let wants = units.join("multi-user.target.wants/shop.service");
    assert_eq!(
        fs::read_link(&wants).unwrap(),
        Path::new("/etc/systemd/system/shop.service")
    );
    // A unit of the same name in a package of the image is not silently hidden.
    let packaged = directory.path().join("image/usr/lib/systemd/system");
    fs::create_dir_all(&packaged).unwrap();
    fs::write(
        packaged.join("other.service"),
        "[Service]\nExecStart=/bin/true\n",
    )
    .unwrap();
    let other = directory_with(&SHOP.replace("shop", "other"));
    let root = directory.path().join("image");
    let refused = transcript(other.path(), &["install", "--root", root.to_str().unwrap()]);
    said.push_str(&refused.replace(directory.path().to_str().unwrap(), "."));
    for arguments in [
        &["uninstall", "shop", "--root", "image", "--dry-run"][..],
        &["uninstall", "shop", "--root", "image"],
        &["uninstall", "shop", "--root", "image"],
    ] {
        said.push_str(&steady(&transcript(directory.path(), arguments)));
    }
    assert_eq!(fs::read_dir(&units).unwrap().count(), 0);
    insta::assert_snapshot!(said, @r#"
    $ zdt-units install --root image --dry-run
    create `shop.socket`
    create `shop.service`

    1. write `shop.socket` and `shop.service` in `image/etc/systemd/system`, enable `shop.socket` and `shop.service` (limit 30s)
    exit status 0
    $ zdt-units install --root image --check
    create `shop.socket`
    create `shop.service`

    1. write `shop.socket` and `shop.service` in `image/etc/systemd/system`, enable `shop.socket` and `shop.service` (limit 30s)
    exit status 8
    $ zdt-units install --root image
    stderr: create `shop.socket`
    stderr: create `shop.service`
    stderr:
    stderr:    (time)  1. write `shop.socket` and `shop.service` in `image/etc/systemd/system`, enable `shop.socket` and `shop.service`
    stderr:    (time)  done
    exit status 0
    $ zdt-units install --root image --check
    exit status 0
    $ zdt-units install --root image
    stderr: nothing to do: all 2 units are installed as wanted
    exit status 0
    $ zdt-units install --root ./image
    stderr: create `other.socket`
    stderr: create `other.service`
    stderr: note: `shop.service` is of a service that this file does not have; `zdt-units uninstall shop` removes it
    stderr: note: `shop.socket` is of a service that this file does not have; `zdt-units uninstall shop` removes it
    stderr:
    stderr: error: `./image/etc/systemd/system/other.service` was not written by zdt-units
    stderr:
    stderr: hint: `zdt-units install --take-over other.service` replaces it; its file is kept, and `zdt-units uninstall` puts it back
    stderr:
    stderr: nothing was touched
    exit status 4
    $ zdt-units uninstall shop --root image --dry-run
    remove `shop.service`
    remove `shop.socket`

    1. disable `shop.service` and `shop.socket`, remove `shop.service` and `shop.socket` in `image/etc/systemd/system` (limit 30s)
    exit status 0
    $ zdt-units uninstall shop --root image
    stderr: remove `shop.service`
    stderr: remove `shop.socket`
    stderr:
    stderr:    (time)  1. disable `shop.service` and `shop.socket`, remove `shop.service` and `shop.socket` in `image/etc/systemd/system`
    stderr:    (time)  done
    exit status 0
    $ zdt-units uninstall shop --root image
    stderr: nothing to do: zdt-units has no units of `shop` installed
    exit status 0
    "#);
}

/// Times differ from run to run.
fn steady(said: &str) -> String {
    let steady = |line: &str| match line.split_once("s  ") {
        Some((time, rest)) if time.ends_with(|last: char| last.is_ascii_digit()) => {
            format!("stderr:    (time)  {rest}\n")
        }
        _ => format!("{line}\n"),
    };
    said.lines().map(steady).collect()
}

#[test]
fn install_says_what_is_wrong_before_it_does_anything() {
    let directory = directory_with(SHOP);
    let mut said = String::new();
    for arguments in [
        &["install", "--check", "--dry-run"][..],
        &["install", "--root", "image", "--restart"],
        &["install", "--root", "image", "--take-over", "a b"],
        &["uninstall", "--root", "image", "a b"],
    ] {
        said.push_str(&transcript(directory.path(), arguments));
    }
    assert!(!directory.path().join("image").exists());
    insta::assert_snapshot!(said, @r#"
    $ zdt-units install --check --dry-run
    stderr: error: the argument '--check' cannot be used with '--dry-run'
    stderr:
    stderr: Usage: zdt-units install --check
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    $ zdt-units install --root image --restart
    stderr: error: the argument '--root <DIR>' cannot be used with '--restart'
    stderr:
    stderr: Usage: zdt-units install --root <DIR>
    stderr:
    stderr: For more information, try '--help'.
    exit status 2
    $ zdt-units install --root image --take-over a b
    stderr: error: `a b.service` does not do as the name of a unit
    stderr:
    stderr: hint: `systemd-escape` turns other text into a unit name
    exit status 2
    $ zdt-units uninstall --root image a b
    stderr: error: `a b` does not do as a name
    stderr:
    stderr: hint: use a letter, then up to 30 letters, digits, `_` and `-`
    exit status 2
    "#);
}

/// One of the files cannot be written, so none is.
#[test]
fn a_directory_is_never_half_written() {
    let directory = directory_with(SHOP);
    fs::create_dir_all(directory.path().join("units/shop.service")).unwrap();
    let said = transcript(directory.path(), &["generate", "--out", "units"]);
    assert!(said.ends_with("exit status 1\n"), "{said}");
    let found: Vec<_> = fs::read_dir(directory.path().join("units"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(found, ["shop.service"]);
}

#[test]
fn a_unit_that_is_no_longer_generated_is_named() {
    let directory = directory_with(&SHOP.replace("shop", "old"));
    transcript(directory.path(), &["generate", "--out", "units"]);
    fs::write(directory.path().join("zdt.toml"), SHOP).unwrap();
    fs::write(directory.path().join("units/theirs.service"), "[Service]\n").unwrap();
    insta::assert_snapshot!(transcript(directory.path(), &["generate", "--out", "units"]), @"
    $ zdt-units generate --out units
    stderr: note: `units/old.service` is not generated from this file
    stderr: note: `units/old.socket` is not generated from this file
    stderr: wrote `units/shop.socket`
    stderr: wrote `units/shop.service`
    exit status 0
    ");
    insta::assert_snapshot!(transcript(directory.path(), &["generate", "--out", "units", "--check"]), @"
    $ zdt-units generate --out units --check
    stderr: note: `units/old.service` is not generated from this file
    stderr: note: `units/old.socket` is not generated from this file
    exit status 0
    ");
}
