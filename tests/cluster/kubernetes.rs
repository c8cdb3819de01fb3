//! A cluster as a person at a terminal has it: `kubectl` and `ararat` with its kubeconfig, and patience with a limit.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::command::{Ran, run, words};

/// The longest that any single command may take.
const COMMAND_MAX: Duration = Duration::from_secs(600);

/// One cluster.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// The folder of tests/cluster/cluster.
    pub folder: PathBuf,
    /// The name of its storage class; `late()` waits for the first consumer, and so does `local()`.
    pub class: &'static str,
    /// The home of whoever sits there: nothing of the machine's own configuration is seen.
    pub home: PathBuf,
}

impl Kubernetes {
    /// The storage class whose claims wait for the first pod that mounts them.
    pub fn late(&self) -> String {
        format!("{}-late", self.class)
    }

    /// The storage class that waits as well, and ties a volume to the node of that pod.
    pub fn local(&self) -> String {
        format!("{}-local", self.class)
    }

    fn command(&self, program: &str, line: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(words(line))
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("KUBECONFIG", self.folder.join("pki/admin.kubeconfig"));
        command
    }

    /// `kubectl LINE`.
    #[track_caller]
    pub fn kubectl(&self, line: &str) -> Ran {
        run(self.command("kubectl", line), "", COMMAND_MAX)
    }

    /// `ararat LINE`.
    #[track_caller]
    pub fn ararat(&self, line: &str) -> Ran {
        run(self.command(env!("CARGO_BIN_EXE_ararat"), line), "", COMMAND_MAX)
    }

    /// Any program in the same surroundings.
    #[track_caller]
    pub fn program(&self, line: &str) -> Ran {
        let (program, rest) = line.split_once(' ').unwrap_or((line, ""));
        run(self.command(program, rest), "", COMMAND_MAX)
    }

    /// `kubectl apply -f -` of these documents in a namespace; they must be taken.
    #[track_caller]
    pub fn apply(&self, namespace: &str, documents: &str) {
        self.try_apply(namespace, documents).ok();
    }

    /// The same, whatever becomes of it.
    #[track_caller]
    pub fn try_apply(&self, namespace: &str, documents: &str) -> Ran {
        run(
            self.command("kubectl", &format!("apply -n {namespace} -f -")),
            documents,
            COMMAND_MAX,
        )
    }

    /// `kubectl create -f -`, for documents that are too many or too big for apply.
    #[track_caller]
    pub fn create(&self, namespace: &str, documents: &str) {
        run(
            self.command("kubectl", &format!("create -n {namespace} -f -")),
            documents,
            COMMAND_MAX,
        )
        .ok();
    }

    /// `kubectl get LINE -o json`, which must be there.
    #[track_caller]
    pub fn get(&self, line: &str) -> Value {
        self.kubectl(&format!("get {line} -o json")).ok().json()
    }

    /// The same, if it is there.
    pub fn find(&self, line: &str) -> Option<Value> {
        let ran = self.kubectl(&format!("get {line} -o json"));
        (ran.code == 0).then(|| ran.json())
    }

    /// The items of a list.
    #[track_caller]
    pub fn list(&self, line: &str) -> Vec<Value> {
        self.get(line)["items"].as_array().cloned().unwrap_or_default()
    }

    /// The names of a list, in order.
    #[track_caller]
    pub fn names(&self, line: &str) -> Vec<String> {
        let items = self.list(line);
        items.iter().map(|item| text(item, "/metadata/name")).collect()
    }

    /// What a shell in a pod prints (`POD`, or `deploy/NAME`); it must succeed.
    #[track_caller]
    pub fn shell(&self, namespace: &str, pod: &str, script: &str) -> String {
        self.try_shell(namespace, pod, script).ok().out
    }

    /// The same, whatever becomes of it.
    #[track_caller]
    pub fn try_shell(&self, namespace: &str, pod: &str, script: &str) -> Ran {
        let line = format!("exec -i -n {namespace} {pod} -- sh");
        run(self.command("kubectl", &line), script, COMMAND_MAX)
    }

    /// Waits until a Deployment, StatefulSet or DaemonSet (`deploy/NAME`) has all that it should have.
    #[track_caller]
    pub fn rolled_out(&self, namespace: &str, workload: &str) {
        self.kubectl(&format!("rollout status -n {namespace} {workload} --timeout=180s"))
            .ok();
    }

    /// A Backup, Restore or the like in Ararat's namespace.
    #[track_caller]
    pub fn object(&self, kind: &str, name: &str) -> Value {
        self.get(&format!("-n ararat {kind} {name}"))
    }

    /// Its phase; empty while nobody has looked at it.
    pub fn phase(&self, kind: &str, name: &str) -> String {
        let found = self.find(&format!("-n ararat {kind} {name}"));
        found.map(|object| text(&object, "/status/phase")).unwrap_or_default()
    }

    /// Waits until a Backup or Restore ends, and gives it.
    #[track_caller]
    pub fn ended(&self, kind: &str, name: &str, most: Duration) -> Value {
        const OPEN: [&str; 5] = ["", "New", "InProgress", "Finalizing", "Canceling"];
        wait(&format!("{kind} {name} to end"), most, || {
            let object = self.find(&format!("-n ararat {kind} {name}"))?;
            (!OPEN.contains(&text(&object, "/status/phase").as_str())).then_some(object)
        })
    }

    /// Ends a part of the cluster at once (`kube-apiserver`, `kubelet`, …); it starts again after a second.
    pub fn kill_part(&self, part: &str) {
        let at = std::env::var("CLUSTER_BIN").unwrap();
        let pattern = format!("{at}/{part} .*");
        Command::new("pkill")
            .args(["-KILL", "--exact", "--full", &pattern])
            .status()
            .unwrap();
    }

    /// Ends every process of a program in Ararat's pods at once, as a crash would; the kubelet starts them again.
    pub fn kill_program(&self, program: &str) {
        let pattern = format!("/bin/{program} run.*");
        Command::new("pkill")
            .args(["-KILL", "--exact", "--full", &pattern])
            .status()
            .unwrap();
    }

    /// Waits until the API server answers again.
    #[track_caller]
    pub fn answers(&self) {
        wait("the API server", Duration::from_secs(60), || {
            (self.kubectl("get --raw /readyz").code == 0).then_some(())
        });
    }
}

/// Asks until there is an answer.
#[track_caller]
pub fn wait<T>(what: &str, most: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + most;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {} s for {what}", most.as_secs());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The text at a place of a document (`/status/phase`); empty when there is none.
pub fn text(document: &Value, place: &str) -> String {
    match document.pointer(place) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The number at a place of a document; 0 when there is none.
pub fn number(document: &Value, place: &str) -> u64 {
    document.pointer(place).and_then(Value::as_u64).unwrap_or_default()
}
