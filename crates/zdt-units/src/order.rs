//! In which order several services are restarted, and which of them at the same time. Pure.

use std::collections::{BTreeSet, HashMap};

use crate::model::{Foreign, Model, Name, Service, UnitName};

/// A service of the file, of either kind.
#[derive(Clone, Copy, Debug)]
pub enum Part<'m> {
    Own(&'m Service),
    Foreign(&'m Foreign),
}

impl<'m> Part<'m> {
    pub fn name(&self) -> &'m Name {
        match self {
            Self::Own(service) => &service.name,
            Self::Foreign(foreign) => &foreign.name,
        }
    }

    fn after(&self) -> &'m [UnitName] {
        match self {
            Self::Own(service) => &service.after,
            Self::Foreign(foreign) => &foreign.after,
        }
    }

    fn units(&self) -> Vec<UnitName> {
        match self {
            Self::Own(service) => {
                let mut units = service.instances();
                units.push(service.unit());
                units
            }
            Self::Foreign(foreign) => vec![foreign.unit.clone()],
        }
    }
}

/// Services in an order in which each comes after those that it needs; otherwise as in the file.
#[derive(Clone, Debug)]
pub struct Order<'m> {
    pub parts: Vec<Part<'m>>,
    /// For each, the places of those that have to be done before.
    pub after: Vec<Vec<usize>>,
}

impl<'m> Order<'m> {
    /// The services that `wanted` names, of `model`, in which none waits for itself. One that waits
    /// for another by way of services that are not wanted waits for it all the same.
    pub fn new(model: &'m Model, wanted: impl Fn(&Name) -> bool) -> Self {
        let own = model.services.iter().map(Part::Own);
        let all: Vec<Part<'m>> = own.chain(model.foreign.iter().map(Part::Foreign)).collect();
        let mut places = HashMap::new();
        for (place, part) in all.iter().enumerate() {
            places.extend(part.units().into_iter().map(|unit| (unit, place)));
        }
        let mut needs: Vec<BTreeSet<usize>> = all
            .iter()
            .map(|part| {
                part.after()
                    .iter()
                    .filter_map(|unit| places.get(unit).copied())
                    .collect()
            })
            .collect();
        let with_head = in_families(&all, &mut needs, &wanted);

        let mut sorted = Sorted {
            needs: &needs,
            seen: vec![false; all.len()],
            order: Vec::new(),
        };
        (0..all.len()).for_each(|place| sorted.visit(place));
        // What stands for a service among those that wait for it: itself if it is wanted, else what it waits for.
        let mut stands: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); all.len()];
        let mut order = Self {
            parts: Vec::new(),
            after: Vec::new(),
        };
        for place in sorted.order {
            let before: BTreeSet<usize> = needs[place]
                .iter()
                .flat_map(|need| stands[*need].iter().copied())
                .collect();
            stands[place] = match wanted(all[place].name()) && !with_head[place] {
                true => {
                    order.parts.push(all[place]);
                    order.after.push(before.into_iter().collect());
                    BTreeSet::from([order.parts.len() - 1])
                }
                false => before,
            };
        }
        order
    }

    /// The other way round: each before those that it needs.
    pub fn reversed(mut self) -> Self {
        let last = self.parts.len().saturating_sub(1);
        let mut after = vec![Vec::new(); self.parts.len()];
        for (place, before) in self.after.iter().enumerate() {
            for need in before {
                after[last - need].push(last - place);
            }
        }
        self.parts.reverse();
        Self {
            parts: self.parts,
            after,
        }
    }
}

/// Which parts are replaced together with another one, that is wanted; what they need, that one needs, and who needs
/// them, needs that one.
fn in_families(
    all: &[Part<'_>],
    needs: &mut [BTreeSet<usize>],
    wanted: impl Fn(&Name) -> bool,
) -> Vec<bool> {
    let head = |part: &Part<'_>| {
        let Part::Own(service) = part else {
            return None;
        };
        let of = &service.companion.as_ref()?.of;
        all.iter()
            .position(|part| part.name() == of)
            .filter(|_| wanted(of))
    };
    let heads: Vec<Option<usize>> = all.iter().map(head).collect();
    let stands = |place: usize| heads[place].unwrap_or(place);
    let own = needs.to_vec();
    for set in needs.iter_mut() {
        set.clear();
    }
    for (place, set) in own.into_iter().enumerate() {
        let place = stands(place);
        let others = set.into_iter().map(stands).filter(|need| *need != place);
        needs[place].extend(others);
    }
    heads.iter().map(Option::is_some).collect()
}

/// Depth first, so that each comes after all that it needs.
struct Sorted<'a> {
    needs: &'a [BTreeSet<usize>],
    seen: Vec<bool>,
    order: Vec<usize>,
}

impl Sorted<'_> {
    /// Without recursion: chains may be long.
    fn visit(&mut self, start: usize) {
        let mut path = vec![(start, false)];
        while let Some((place, is_done)) = path.pop() {
            if is_done {
                self.order.push(place);
            } else if !self.seen[place] {
                self.seen[place] = true;
                path.push((place, true));
                let needs = self.needs[place].iter().rev();
                path.extend(
                    needs
                        .filter(|need| !self.seen[**need])
                        .map(|need| (*need, false)),
                );
            }
        }
    }
}

/// What can be begun, and what cannot any more.
#[derive(Debug)]
pub struct Schedule {
    /// How many are not done yet that each waits for.
    waits: Vec<usize>,
    followers: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
    running: usize,
    parallel: usize,
    stopped: bool,
}

impl Schedule {
    /// At most `parallel` at a time.
    pub fn new(after: &[Vec<usize>], parallel: usize) -> Self {
        let mut followers = vec![Vec::new(); after.len()];
        for (place, before) in after.iter().enumerate() {
            before
                .iter()
                .for_each(|first| followers[*first].push(place));
        }
        let waits: Vec<usize> = after.iter().map(Vec::len).collect();
        let free = waits.iter().enumerate().filter(|(_, waits)| **waits == 0);
        Self {
            ready: free.map(|(place, _)| place).collect(),
            waits,
            followers,
            running: 0,
            parallel: parallel.max(1),
            stopped: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waits.len()
    }

    /// The next one to begin, if there is one now.
    pub fn begin(&mut self) -> Option<usize> {
        if self.stopped || self.running >= self.parallel {
            return None;
        }
        let next = self.ready.pop_first()?;
        self.running += 1;
        Some(next)
    }

    /// After one that did not go well none is begun any more.
    pub fn done(&mut self, place: usize, went_well: bool) {
        self.running -= 1;
        self.stopped |= !went_well;
        for follower in &self.followers[place] {
            self.waits[*follower] -= 1;
            if self.waits[*follower] == 0 {
                self.ready.insert(*follower);
            }
        }
    }

    /// Those that run go on, and none is begun any more.
    pub fn stop(&mut self) {
        self.stopped = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let own = |name: &str, port: u16, after: &str| {
            format!("[service.{name}]\nexec = [\"/a\"]\nlisten = \":{port}\"\nafter = [{after}]\n")
        };
        let text = [
            own("web", 1, "\"api\", \"assets\""),
            own("api", 2, "\"db\""),
            own("assets", 3, ""),
            own("jobs", 4, "\"db\""),
            "[service.db]\nunit = \"postgresql.service\"\n".to_owned(),
        ];
        Model::read("zdt.toml", &text.concat()).unwrap()
    }

    fn shown(order: &Order<'_>) -> Vec<String> {
        let named = |place: &usize| order.parts[*place].name().as_str();
        let each = order.parts.iter().zip(&order.after);
        each.map(|(part, after)| {
            let after: Vec<&str> = after.iter().map(named).collect();
            format!("{} after [{}]", part.name(), after.join(" "))
        })
        .collect()
    }

    #[test]
    fn each_comes_after_what_it_needs() {
        let model = model();
        let all = Order::new(&model, |_| true);
        assert_eq!(
            shown(&all),
            [
                "db after []",
                "api after [db]",
                "assets after []",
                "web after [api assets]",
                "jobs after [db]"
            ]
        );
        let some = Order::new(&model, |name| name.as_str() != "api");
        assert_eq!(
            shown(&some),
            [
                "db after []",
                "assets after []",
                "web after [db assets]",
                "jobs after [db]"
            ]
        );
    }

    #[test]
    fn what_runs_with_the_releases_of_another_one_is_no_part_of_its_own() {
        let text = "[service.shop]\nexec = [\"{{release.path}}/a\"]\nlisten = \":1\"\nrelease = { root = \"/srv/shop\" }\n\
             [service.jobs]\nkind = \"worker\"\nexec = [\"{{release.path}}/b\"]\nrelease = { of = \"shop\" }\nafter = [\"db\", \"shop\"]\n\
             [service.mail]\nexec = [\"/c\"]\nlisten = \":2\"\nafter = [\"jobs\"]\n\
             [service.db]\nunit = \"postgresql.service\"\n";
        let model = Model::read("zdt.toml", text).unwrap();
        let all = Order::new(&model, |_| true);
        assert_eq!(
            shown(&all),
            ["db after []", "shop after [db]", "mail after [shop]"]
        );
        let reversed = all.reversed();
        assert_eq!(
            shown(&reversed),
            ["mail after []", "shop after [mail]", "db after [shop]"]
        );
        let alone = Order::new(&model, |name| name.as_str() != "shop");
        assert_eq!(
            shown(&alone),
            ["db after []", "jobs after [db]", "mail after [jobs]"]
        );
    }

    #[test]
    fn branches_run_side_by_side_up_to_a_limit() {
        let model = model();
        let order = Order::new(&model, |_| true);
        let mut schedule = Schedule::new(&order.after, 2);
        // db and assets; then api in place of db; web waits for assets, and so does jobs for room.
        assert_eq!(
            [schedule.begin(), schedule.begin(), schedule.begin()],
            [Some(0), Some(2), None]
        );
        schedule.done(0, true);
        assert_eq!([schedule.begin(), schedule.begin()], [Some(1), None]);
        schedule.done(2, true);
        assert_eq!([schedule.begin(), schedule.begin()], [Some(4), None]);
        schedule.done(1, true);
        assert_eq!(schedule.begin(), Some(3));
    }

    #[test]
    fn after_a_failure_none_is_begun() {
        let mut schedule = Schedule::new(&[vec![], vec![0], vec![]], 1);
        assert_eq!(schedule.begin(), Some(0));
        schedule.done(0, false);
        assert_eq!(schedule.begin(), None);
    }
}
