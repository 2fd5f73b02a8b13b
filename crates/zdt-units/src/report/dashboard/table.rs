//! A table that is one for a screen reader also where it is shown as a list.

use maud::{Markup, html};

use crate::report::html::words::{printable, prose};

/// The first cell of a row is its heading. `class` is for the eye.
pub(super) struct Table<'a> {
    pub(super) class: &'a str,
    pub(super) caption: &'a str,
    pub(super) head: &'a [&'a str],
}

impl Table<'_> {
    /// Roles are said, because a browser forgets those of a table that is laid out otherwise.
    pub(super) fn of(&self, rows: impl Iterator<Item = Vec<Markup>>) -> Markup {
        html! {
            table class=(self.class) role="table" {
                caption { (prose(self.caption)) }
                thead role="rowgroup" {
                    tr role="row" {
                        @for name in self.head {
                            th role="columnheader" scope="col" { (name) }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for row in rows {
                        tr role="row" {
                            @for (name, cell) in self.head.iter().zip(row) {
                                @if *name == self.head[0] {
                                    th role="rowheader" scope="row" { (cell) }
                                } @else {
                                    td role="cell" data-name=(name) { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A cell that says that there is nothing.
pub(super) fn none() -> Markup {
    html! { span class="none" { "\u{2013}" } }
}

/// What may be missing.
pub(super) fn or_none(text: Option<impl AsRef<str>>) -> Markup {
    match text {
        Some(text) => html! { (printable(text.as_ref())) },
        None => none(),
    }
}
