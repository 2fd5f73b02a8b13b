//! A tree of files that no manager runs from yet.

use super::{Failure, Host, files};
use crate::event::EventKind;
use crate::observe::{Observed, Watched};
use crate::plan::{Act, Action};

/// The root of an image.
#[derive(Clone, Copy, Debug)]
pub struct Image;

impl Host for Image {
    async fn observe(&mut self, _: &Watched) -> Result<Observed, Failure> {
        Err(nothing_runs())
    }

    async fn perform(
        &mut self,
        action: &Action,
        _: &mut dyn FnMut(EventKind),
    ) -> Result<(), Failure> {
        match action {
            Action::Install(Act::Write { files, links }) => files::write(files, links),
            Action::Install(Act::PutBack { file, aside }) => files::put_back(file, aside),
            Action::Install(Act::Remove { paths }) => files::remove(paths),
            _ => Err(nothing_runs()),
        }
    }
}

fn nothing_runs() -> Failure {
    Failure::new("nothing runs in an image").without_effect()
}
