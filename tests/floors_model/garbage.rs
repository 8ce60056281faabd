//! Garbage collection: floors go into `base`, then their znodes go.

use super::config::Config;
use super::machine::{Action, State};
use super::zookeeper::Znode;

/// A znode that a collector has read and means to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Folded {
    pub doc: usize,
    pub read: Znode,
}

impl Config {
    pub fn garbage_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for doc in 0..super::mongo::DOCS {
            let busy = self.rules.one_collector && state.folded.iter().any(|folded| folded.doc == doc);
            if state.left.folds > 0 && state.zookeeper.now().docs[doc].is_some() && !busy {
                actions.push(Action::Fold { doc });
            }
        }
        actions.extend((0..state.folded.len()).map(|folded| Action::Delete { folded }));
    }

    /// Members' positions are a matter of speed, never of safety: any floor may be folded at any time.
    pub fn fold(&self, state: &mut State, doc: usize) {
        state.left.folds -= 1;
        let mut now = *state.zookeeper.now();
        let Some(read) = now.docs[doc] else { return };
        if self.rules.base_before_delete {
            now.raise_base(if self.doubted(&read) { state.log.commit } else { read.time });
        } else {
            now.docs[doc] = None;
        }
        state.zookeeper.write(now);
        state.folded.push(Folded { doc, read });
    }

    pub fn delete(&self, state: &mut State, folded: usize) {
        let Folded { doc, read } = state.folded.remove(folded);
        let mut now = *state.zookeeper.now();
        if self.rules.base_before_delete {
            // ZooKeeper compares the version and nothing else.
            let meets =
                |znode: Znode| if self.split_publish { znode.version == read.version } else { znode == read };
            if now.docs[doc].is_some_and(meets) {
                now.docs[doc] = None;
            }
        } else {
            now.raise_base(read.time);
        }
        state.zookeeper.write(now);
    }

    /// Nobody can tell what such a znode said before it was written over; the primary's commit point is above it.
    pub fn doubted(&self, znode: &Znode) -> bool {
        self.rules.incarnation && znode.overwritten()
    }
}
