use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;
use crate::host::Effect;

/// A directory for releases, and one to deploy from.
struct Site {
    _directory: tempfile::TempDir,
    root: AbsolutePath,
    from: PathBuf,
}

impl Site {
    /// With a program, a file that is not to be run, and a link between the two.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("shop");
        let from = directory.path().join("build");
        fs::create_dir_all(from.join("share/a b")).unwrap();
        fs::create_dir(from.join("bin")).unwrap();
        let site = Self {
            root: AbsolutePath::parse(root.to_str().unwrap()).unwrap(),
            from,
            _directory: directory,
        };
        site.write("bin/shop", "#!/bin/sh\n", 0o755);
        site.write("share/a b/motd\nü", "hello\n", 0o640);
        symlink("../bin/shop", site.from.join("share/shop")).unwrap();
        symlink("/usr/share/zoneinfo", site.from.join("share/zones")).unwrap();
        site
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.from.join(path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn place(&self) -> Place {
        Place::new(&self.root)
    }

    fn copy_from(&self, from: &Path, release: &str) -> Result<(), Failure> {
        let ended = AtomicBool::new(false);
        copy::copy(from, &self.place(), &name(release), &ended)
    }

    fn copy(&self, release: &str) -> Result<(), Failure> {
        self.copy_from(&self.from, release)
    }

    fn record(&self, release: &str) -> Record {
        let releases = look(&self.root).unwrap();
        releases.record(&name(release)).unwrap().clone()
    }

    /// Everything in `releases`, hidden or not.
    fn names(&self) -> Vec<String> {
        names(&self.place().releases())
    }

    /// Packs the directory, or something else that goes through `sh`, as an archive.
    fn pack(&self, archive: &str, script: &str) -> PathBuf {
        let path = self.from.with_file_name(archive);
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]).arg(&path);
        let output = command.current_dir(&self.from).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        path
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn name(text: &str) -> ReleaseName {
    ReleaseName::parse(text).unwrap()
}

/// What a failure says, below `site`.
fn said(site: &Site, done: Result<(), Failure>) -> String {
    let failure = done.unwrap_err();
    assert_eq!(failure.effect, Effect::None);
    let above = Path::new(site.root.as_str()).parent().unwrap();
    let text = match failure.hint {
        Some(hint) => format!("{}: {hint}", failure.reason),
        None => failure.reason,
    };
    text.replace(above.to_str().unwrap(), "")
}

#[test]
fn a_release_is_a_copy_that_nobody_writes_to() {
    let site = Site::new();
    site.copy("v1").unwrap();
    let release = site.place().release(&name("v1"));
    let mode = |path: &str| {
        let about = release.join(path).symlink_metadata().unwrap();
        format!("{:o}", about.mode() & 0o7777)
    };
    let modes = ["", "bin", "bin/shop", "share/a b", "share/a b/motd\nü"].map(mode);
    assert_eq!(modes, ["555", "555", "555", "555", "440"]);
    let links =
        ["share/shop", "share/zones"].map(|link| fs::read_link(release.join(link)).unwrap());
    assert_eq!(
        links.map(PathBuf::into_os_string),
        ["../bin/shop", "/usr/share/zoneinfo"]
    );
    assert_eq!(
        fs::read(release.join("share/shop")).unwrap(),
        b"#!/bin/sh\n"
    );
    assert_eq!(site.names(), [".zdt", "v1"]);
    assert_eq!(names(&site.place().records()), ["v1.json"]);

    let record = site.record("v1");
    assert_eq!((record.files, record.bytes), (2, 16));
    assert_eq!(record.source, site.from.display().to_string());
}

/// As `docs/releases.md` has it.
#[test]
fn a_person_can_recompute_the_checksum() {
    let site = Site::new();
    site.copy("v1").unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/releases.md");
    let page = fs::read_to_string(page).unwrap();
    let recipe = page.split("<!-- checksum -->").nth(1).unwrap();
    let recipe = recipe.split("```").nth(1).unwrap();
    let recipe = recipe.trim_start_matches("sh\n");
    let output = Command::new("sh")
        .args(["-ec", recipe])
        .current_dir(site.place().release(&name("v1")))
        .output()
        .unwrap();
    let recomputed = String::from_utf8(output.stdout.clone()).unwrap();
    let recomputed = recomputed.split_whitespace().next();
    assert_eq!(
        recomputed,
        Some(site.record("v1").checksum.as_str()),
        "{output:?}"
    );
    assert_eq!(
        checksum(&site.root, &name("v1")).as_deref(),
        Ok(recomputed.unwrap())
    );

    let program = site.place().release(&name("v1")).join("bin/shop");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    assert_ne!(
        checksum(&site.root, &name("v1")).as_deref(),
        Ok(recomputed.unwrap())
    );
}

#[test]
fn a_release_never_changes() {
    let site = Site::new();
    site.copy("v1").unwrap();
    let first = site.record("v1");
    site.copy("v1").unwrap();
    site.write("bin/shop", "#!/bin/bash\n", 0o755);
    assert_eq!(
        said(&site, site.copy("v1")),
        "`/shop/releases/v1` is there, and is not what is in `/build`: take another name: a release never changes"
    );
    assert_eq!(site.record("v1"), first);
    fs::create_dir(site.place().release(&name("theirs"))).unwrap();
    assert_eq!(
        said(&site, site.copy("theirs")),
        "`/shop/releases/theirs` is there, and was not deployed: take another name: a release never changes"
    );
    assert_eq!(site.names(), [".zdt", "theirs", "v1"]);
}

#[test]
fn archives_and_programs_become_the_same_release() {
    let site = Site::new();
    site.copy("directory").unwrap();
    let packed = [
        ("whole.tar", "tar cf $1 ."),
        ("whole.tar.gz", "tar czf $1 ."),
        ("parts.tgz", "tar czf $1 share bin"),
    ];
    for (archive, script) in packed {
        let path = site.pack(archive, script);
        site.copy_from(&path, archive).unwrap();
        assert_eq!(
            site.record(archive).checksum,
            site.record("directory").checksum
        );
    }
    let hard = site.pack(
        "hard.tar",
        "ln bin/shop bin/again; tar cf $1 bin; rm bin/again",
    );
    site.copy_from(&hard, "hard").unwrap();
    let again = site.place().release(&name("hard")).join("bin/again");
    assert_eq!(fs::read(again).unwrap(), b"#!/bin/sh\n");

    site.copy_from(&site.from.join("bin/shop"), "program")
        .unwrap();
    let program = site.place().release(&name("program"));
    assert_eq!(names(&program), ["bin"]);
    assert_eq!(names(&program.join("bin")), ["shop"]);
}

#[test]
fn what_no_release_can_have_is_told_at_once_and_nothing_is_there() {
    let site = Site::new();
    let check = |from: &Path| said(&site, site.copy_from(from, "v1"));
    let escaping = site.pack(
        "dots.tar",
        "tar cPf $1 --transform='s,^share,../share,' bin share",
    );
    let absolute = site.pack("absolute.tar", "tar cPf $1 --transform='s,^bin,/bin,' bin");
    let linked = site.pack(
        "linked.tar",
        "ln -s /tmp way; tar cf $1 way; rm way; mkdir way; echo > way/x; tar rf $1 way/x; rm -r way",
    );
    let broken = site.pack("broken.tgz", "tar czf - . | head -c 200 > $1");
    let unknown = site.pack("x.tar.zst", ": > $1");
    let empty = site.pack("empty", "mkdir $1");
    let archives =
        [&escaping, &absolute, &linked, &broken, &unknown, &empty].map(|path| check(path));
    assert_eq!(
        archives,
        [
            "no release can have that: `../share`: its path leads out of the release, \
             `../share/a b`: its path leads out of the release, \
             `../share/a b/motd\nü`: its path leads out of the release, \
             `../share/shop`: its path leads out of the release, \
             `../share/zones`: its path leads out of the release",
            "no release can have that: `/bin`: its path leads out of the release, \
             `/bin/shop`: its path leads out of the release",
            "no release can have that: `way/x`: `way` is no directory",
            "failed to read `/broken.tgz`: incomplete deflate stream",
            "`/x.tar.zst` is no archive that is known here: unpack it and deploy the directory, or pack it as `.tar.gz`",
            "`/empty` has no file in it",
        ]
    );
    symlink("../../../etc", site.from.join("share/out")).unwrap();
    site.pack("none", "mkfifo pipe");
    let _socket = std::os::unix::net::UnixListener::bind(site.from.join("socket")).unwrap();
    let mut parts: Vec<String> = check(&site.from)
        .trim_start_matches("no release can have that: ")
        .split(", `")
        .map(|part| part.trim_start_matches('`').to_owned())
        .collect();
    parts.sort();
    assert_eq!(
        parts,
        [
            "pipe` is a named pipe",
            "share/out`: it points to `../../../etc`, out of the release",
            "socket` is a socket",
        ]
    );
    let above = site.from.parent().unwrap();
    assert_eq!(
        check(&above.join("gone")),
        "failed to read `/gone`: No such file or directory (os error 2): \
         name a directory, an archive (`.tar`, `.tar.gz`) or one program"
    );
    assert!(!Path::new(site.root.as_str()).exists());
}

#[test]
fn a_release_is_not_copied_into_itself() {
    let site = Site::new();
    let above = site.from.parent().unwrap();
    // At first there is no such directory, and then there is.
    for _ in 0..2 {
        let said = said(&site, site.copy_from(above, "v1"));
        assert!(
            said.starts_with("no release can have that: `shop/releases`"),
            "{said}"
        );
        assert_eq!(site.names(), [".zdt"]);
    }
    let said = said(&site, site.copy_from(&site.place().releases(), "v1"));
    assert_eq!(
        said,
        "`/shop/releases` is where the releases are kept: name one of those in it"
    );
    assert_eq!(site.names(), [".zdt"]);
}

#[test]
fn an_interrupted_copy_leaves_nothing() {
    let site = Site::new();
    let ended = AtomicBool::new(true);
    let done = copy::copy(&site.from, &site.place(), &name("v1"), &ended);
    assert_eq!(said(&site, done), "it was interrupted");
    assert_eq!(site.names(), [".zdt"]);
    assert_eq!(look(&site.root), Ok(Releases::default()));
}

#[test]
fn links_are_switched_and_what_is_no_link_is_left_alone() {
    let site = Site::new();
    let place = site.place();
    let switch = |link, release| point(&place, link, &name(release));
    assert_eq!(
        said(&site, switch(ReleaseLink::Current, "v1")),
        "there is no release `/shop/releases/v1`"
    );
    site.copy("v1").unwrap();
    site.copy("v2").unwrap();
    switch(ReleaseLink::Current, "v1").unwrap();
    switch(ReleaseLink::Next, "v2").unwrap();
    switch(ReleaseLink::Current, "v2").unwrap();
    let current = fs::read_link(place.link(ReleaseLink::Current)).unwrap();
    assert_eq!(current, Path::new("releases/v2"));
    assert_eq!(names(&place.root), ["current", "next", "releases"]);
    let releases = look(&site.root).unwrap();
    assert_eq!(
        (releases.current, releases.next),
        (Some(name("v2")), Some(name("v2")))
    );

    fs::remove_file(place.link(ReleaseLink::Current)).unwrap();
    fs::create_dir(place.link(ReleaseLink::Current)).unwrap();
    assert_eq!(look(&site.root).unwrap().blocked, [ReleaseLink::Current]);
    assert_eq!(
        said(&site, switch(ReleaseLink::Current, "v1")),
        "`/shop/current` is in the way: it is no link: move it away: `mv /shop/current /shop/current.before-zdt`"
    );
}

#[test]
fn a_link_to_elsewhere_names_no_release() {
    let site = Site::new();
    site.copy("v1").unwrap();
    let place = site.place();
    let absolute = place.release(&name("v1"));
    let named = [
        "releases/v1",
        "releases/gone",
        "v1",
        "releases",
        "/opt/shop",
        absolute.to_str().unwrap(),
    ]
    .map(|target| named_by(&place, Path::new(target)).map(|name| name.to_string()));
    let named = named
        .each_ref()
        .map(|name| name.as_deref().unwrap_or("none"));
    assert_eq!(named, ["v1", "gone", "none", "none", "none", "v1"]);
}

#[test]
fn marks_are_kept_and_a_damaged_record_is_told() {
    let site = Site::new();
    site.copy("v1").unwrap();
    let place = site.place();
    write_mark(&place, &name("v1"), Mark::Migrated).unwrap();
    write_mark(&place, &name("v1"), Mark::Served).unwrap();
    let record = site.record("v1");
    assert!(record.is_good() && record.migrated.is_some());

    fs::write(place.record(&name("v1")), "{").unwrap();
    let why =
        "`/shop/releases/.zdt/v1.json` is damaged: EOF while parsing an object at line 1 column 1";
    assert_eq!(
        said(&site, write_mark(&place, &name("v1"), Mark::Failed)),
        format!("{why}: deploy the release under another name, and remove this one by hand")
    );
    assert!(matches!(
        &look(&site.root).unwrap().all[0].kind,
        Kind::Damaged(_)
    ));
    fs::create_dir(place.release(&name("theirs"))).unwrap();
    assert_eq!(
        said(&site, write_mark(&place, &name("theirs"), Mark::Served)),
        "`theirs` has no record `/shop/releases/.zdt/theirs.json`: deploy it under another name, and it gets one"
    );
}

#[test]
fn what_is_needed_again_is_not_removed() {
    let site = Site::new();
    for release in ["v1", "v2", "v3"] {
        site.copy(release).unwrap();
    }
    let place = site.place();
    point(&place, ReleaseLink::Current, &name("v2")).unwrap();
    assert_eq!(
        said(&site, remove(&place, &[name("v1"), name("v2")])),
        "`v2` is needed: `/shop/current` leads to it"
    );
    assert_eq!(site.names(), [".zdt", "v1", "v2", "v3"]);
    remove(&place, &[name("v1"), name("v3"), name("gone")]).unwrap();
    assert_eq!(site.names(), [".zdt", "v2"]);
    assert_eq!(names(&place.records()), ["v2.json"]);
}

#[test]
fn litter_is_swept_and_what_is_held_is_not() {
    let site = Site::new();
    site.copy("v1").unwrap();
    let releases = site.place().releases();
    for litter in [".v0.partial-1", ".v1.partial-1"] {
        let litter = releases.join(litter);
        fs::create_dir_all(litter.join("bin")).unwrap();
        fs::set_permissions(litter.join("bin"), Permissions::from_mode(0o555)).unwrap();
    }
    // Killed between the record and the name.
    fs::write(site.place().record(&name("v0")), "{}").unwrap();
    let held = Partial::new(&releases, &name("v3")).unwrap();
    let hidden = held
        .path()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    site.copy("v2").unwrap();
    assert_eq!(site.names(), [hidden.as_str(), ".zdt", "v1", "v2"]);
    assert_eq!(names(&site.place().records()), ["v1.json", "v2.json"]);
    assert_eq!(
        said(&site, site.copy("v3")),
        format!(
            "failed to make the directory for `/shop/releases/v3`: File exists (os error 17): another copy of it is under way"
        )
    );
    drop(held);
    assert_eq!(site.names(), [".zdt", "v1", "v2"]);
}

#[test]
fn an_act_is_done_in_the_background() {
    let site = Site::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let copy = ReleaseAct::Copy {
        from: site.from.clone(),
        root: site.root.clone(),
        release: name("v1"),
    };
    runtime.block_on(async {
        // Begun, and dropped at once: the copy ends by itself, whole or gone.
        tokio::select! {
            biased;
            _ = perform(&copy) => {}
            () = std::future::ready(()) => {}
        }
    });
    drop(runtime);
    assert!(site.names() == [".zdt"] || site.names() == [".zdt", "v1"]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(perform(&copy)).unwrap();
    assert_eq!(site.names(), [".zdt", "v1"]);
}
