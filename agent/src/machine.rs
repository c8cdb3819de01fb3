//! The present, and who this process is to other writers of a repository.

use std::sync::LazyLock;
use std::time::SystemTime;

use engine::repository::writer::Machine;
use engine::words::Timestamp;
use engine::words::id::random_bytes;

/// This agent among those that ever ran on the node. Numbers of processes say nothing here: in a container every program is process 1.
static NUMBER: LazyLock<u32> = LazyLock::new(|| u32::from_le_bytes(random_bytes()));

/// The present.
pub fn now() -> Timestamp {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}

/// The node and this agent. One agent runs on a node at a time: of every other session of the node's agents since it was started, the writer is dead, and
/// its packs are used again. Were two of them to run for a moment, one would lose its session and begin again.
pub fn machine(node: &str) -> Machine {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Machine {
        host: node.to_owned(),
        boot: format!("{} ararat-agent", boot.trim()),
        process: *NUMBER,
        is_running: |process| process == *NUMBER,
        program: concat!("ararat-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_takes_itself_for_running_and_those_before_it_for_dead() {
        let machine = machine("node");
        assert!((machine.is_running)(machine.process));
        assert!(!(machine.is_running)(machine.process.wrapping_add(1)));
    }
}
