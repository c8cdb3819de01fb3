//! The whole system as stateright sees it: who can move, and what the world looks like afterwards.

use stateright::{Model, Property};

use crate::config::{Config, Reading};
use crate::state::{Generation, Maintainer, NONE, Pack, Reader, ReaderAt, Session, State, Writer};
use crate::{claims, maintainer, reader, symmetry, upkeep, writer};
use crate::{state, state::only};

/// One step of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A writer.
    Writer(u8, writer::Step),
    /// A repacker.
    Repacker(u8, writer::Step),
    /// A maintainer.
    Maintainer(u8, maintainer::Step),
    /// The reader.
    Reader(reader::Step),
    /// A user, or any maintainer.
    Upkeep(upkeep::Step),
}

/// A configuration to be checked.
#[derive(Clone, Debug)]
pub struct Protocol(pub Config);

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let config = &self.0;
        let mut sessions = [Session {
            names: NONE,
            ..Session::default()
        }; state::SLOTS];
        // The base session was folded and retired; its pack is in the index.
        sessions[0] = Session {
            pack: Pack::Here,
            names: 0,
            ..Session::default()
        };
        let mut generations = [Generation::default(); state::GENERATIONS];
        generations[1] = Generation {
            levels: only(0),
            folded: only(0),
            catalogue: only(0),
            ..Generation::default()
        };
        let mut maintainers = [Maintainer::default(); 2];
        for (maintainer, rounds) in maintainers.iter_mut().zip(config.rounds) {
            maintainer.rounds = *rounds;
        }
        vec![State {
            sessions,
            generations,
            newest: 1,
            writers: [Writer::default(); 3],
            repackers: [Writer::default(); 2],
            maintainers,
            reader: Reader {
                at: ReaderAt::Idle,
                pack: NONE,
                seen: 0,
                owed: 0,
            },
            forgotten: u8::from(config.base_forgotten),
            lost: config.lost_replies,
            exclusive: 0,
            clash: false,
            pruned: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let config = &self.0;
        let mut steps = Vec::new();
        // An operator who vouched that nothing else runs keeps everybody else out.
        if state.exclusive == 0 {
            for index in 0..config.writers() {
                writer::steps(config, state, index, &mut steps);
                actions.extend(steps.drain(..).map(|step| Action::Writer(index, step)));
            }
            for index in 0..config.repackers {
                writer::repack_steps(config, state, index, &mut steps);
                actions.extend(steps.drain(..).map(|step| Action::Repacker(index, step)));
            }
            if config.reader != Reading::Nobody {
                let mut steps = Vec::new();
                reader::steps(config, state, &mut steps);
                actions.extend(steps.into_iter().map(Action::Reader));
            }
        }
        let mut steps = Vec::new();
        for index in 0..config.maintainers() {
            maintainer::steps(config, state, index, &mut steps);
            actions.extend(steps.drain(..).map(|step| Action::Maintainer(index, step)));
        }
        let mut steps = Vec::new();
        upkeep::steps(config, state, &mut steps);
        actions.extend(steps.into_iter().map(Action::Upkeep));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let config = &self.0;
        let mut state = *last;
        match action {
            Action::Writer(index, step) => writer::apply(config, &mut state, index, step),
            Action::Repacker(index, step) => writer::repack(config, &mut state, index, step),
            Action::Maintainer(index, step) => maintainer::apply(config, &mut state, index, step),
            Action::Reader(step) => reader::apply(config, &mut state, step),
            Action::Upkeep(step) => upkeep::apply(&mut state, step),
        }
        symmetry::normalise(config, &mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        claims::properties(&self.0)
    }
}
