//! What is printed with a story that fails: what the cluster says of itself, and the logs of Ararat's programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is asked, in the order in which it helps.
const QUESTIONS: &[&str] = &[
    "get backups,restores,schedules,backupstoragelocations,backuprepositories,deletebackuprequests,podvolumebackups,podvolumerestores -n ararat -o wide",
    "get pods -A -o wide",
    "get persistentvolumeclaims,persistentvolumes,nodes -A -o wide",
    "get events -A --sort-by=.lastTimestamp",
    "logs -n ararat -l app.kubernetes.io/component=controller --tail=120 --prefix",
    "logs -n ararat -l app.kubernetes.io/component=agent --tail=120 --prefix",
    "logs -n ararat deploy/ararat-controller --tail=60 --previous",
    "logs -n ararat daemonset/ararat-agent --tail=60 --previous",
    "describe pods -n ararat",
    "get backups,restores,podvolumebackups,podvolumerestores,backupstoragelocations -n ararat -o yaml",
];
/// The lines of each answer that are printed; all of them are written to a file.
const LINES_MAX: usize = 60;

/// From here on every panic of a story is followed by a report.
pub fn on_failure(folder: PathBuf) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        let name = std::thread::current().name().unwrap_or_default().replace("::", "-");
        // Other threads serve the stories; a story that panics makes its own report.
        if name.contains('_') || name == "main" {
            eprintln!("{}", report(&folder, &name));
        }
    }));
}

fn report(folder: &Path, story: &str) -> String {
    let (mut whole, mut short) = (String::new(), String::new());
    for question in QUESTIONS {
        let mut command = Command::new("timeout");
        command.args(["20", "kubectl"]).args(question.split(' '));
        command.env("KUBECONFIG", folder.join("pki/admin.kubeconfig"));
        let Ok(output) = command.output() else { continue };
        let answer = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = answer.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES_MAX)..];
        whole += &format!("--- kubectl {question}\n{answer}\n");
        if !question.ends_with("yaml") && !question.starts_with("describe") {
            short += &format!("--- kubectl {question}\n{}\n", last.join("\n"));
        }
    }
    let file = folder.join("reports").join(format!("{story}.txt"));
    std::fs::create_dir_all(folder.join("reports")).ok();
    match std::fs::write(&file, whole) {
        Ok(()) => format!("{short}--- all of it: {}", file.display()),
        Err(_) => short,
    }
}
