//! Ararat among shells, terminals and signals: completions, manual pages, a password at the prompt, Ctrl-C.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::home::{Home, noise, run};

#[test]
fn completions_are_written_for_each_shell() {
    let home = Home::new();
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef ararat"),
        ("fish", "complete -c ararat"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = run(home.command().args(["completion", shell])).ends(0).out;
        assert!(
            script.contains(part) && script.contains("snapshots"),
            "{shell}: {script}"
        );
        if shell == "bash" {
            let file = home.write("completion.bash", &script);
            let read = run(Command::new("bash").arg("-n").arg(&file));
            assert_eq!(read.code, 0, "{}", read.err);
            let complete = format!(
                "source '{}'; COMP_WORDS=(ararat repo snap); COMP_CWORD=2; _ararat ararat snap repo; echo \"${{COMPREPLY[@]}}\"",
                file.display()
            );
            let completed = run(Command::new("bash").args(["--norc", "-c", &complete]));
            assert_eq!(completed.out.trim(), "snapshots", "{}", completed.err);
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let home = Home::new();
    run(home.command().args(["man", "pages"])).ends(0);
    let help = run(home.command().args(["repo", "--help"])).ends(0).out;
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next());
    let mut count = 0;
    for command in commands.filter(|command| *command != "help") {
        let page = std::fs::read_to_string(home.path(&format!("pages/ararat-repo-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}: {page}");
        count += 1;
    }
    assert!(count >= 15, "{help}");
    assert!(home.path("pages/ararat.1").exists());
    assert!(home.path("pages/ararat-repo-cache-clear.1").exists());
    let help = run(home.command().arg("--help")).ends(0).out;
    assert!(help.contains("completion") && help.contains("man "), "{help}");
}

/// Runs `ararat repo snapshots` on a terminal of its own and types a line; prints what the terminal showed.
const ON_A_TERMINAL: &str = r#"
import os, pty, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:3] + ["snapshots"])
shown = b""
typed = False
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if b"Password: " in shown and not typed:
        # A person, too, types only when the prompt is there and has switched the echo off.
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(terminal, sys.argv[3].encode() + b"\n")
        typed = True
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status))
"#;

#[test]
fn a_password_is_asked_for_on_a_terminal_and_not_shown() {
    let mut home = Home::new();
    home.set("ARARAT_REPOSITORY", home.path("repository").to_str().unwrap());
    home.set("ARARAT_PASSWORD", "horse battery");
    home.ok(["init"]);
    home.unset("ARARAT_PASSWORD");
    let ararat = home.command().get_program().to_owned();
    let typing = |password: &str| {
        let mut python = home.command_of("python3");
        python.args(["-c", ON_A_TERMINAL]).arg(&ararat).args(["repo", password]);
        run(&mut python)
    };
    let ran = typing("horse battery").ends(0);
    assert!(
        ran.out.contains("Password: ") && ran.out.contains("0 snapshots"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("horse battery"), "{}", ran.out);
    let ran = typing("wrong").ends(12);
    assert!(ran.out.contains("opens none of the 1 key slots"), "{}", ran.out);
}

fn interrupt(process: &std::process::Child) {
    let kill = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

/// Starts a command, presses Ctrl-C once it is under way, and gives how it ended.
fn interrupted(home: &Home, arguments: &[&str], is_under_way: impl Fn() -> bool) -> crate::home::Ran {
    let mut command = home.command();
    command.arg("repo").args(arguments);
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..600 {
        if is_under_way() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    interrupt(&process);
    let output = process.wait_with_output().unwrap();
    crate::home::Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn an_interrupted_restore_says_so_and_the_next_goes_on() {
    let home = Home::with_repository();
    for number in 0..20 {
        home.write(&format!("source/{number:02}"), noise(number + 1, 2_000_000));
    }
    home.backup();
    let (source, target) = (home.source(), home.path("target"));
    let within = format!("latest:{}", source.display());
    let restore = ["restore", &within, "--target", target.to_str().unwrap()];
    let arguments = [&["--limit-download", "4MiB"], &restore[..]].concat();
    let begun = || std::fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some());
    interrupted(&home, &arguments, begun)
        .ends(130)
        .says(&["Stopping where it is safe", "Run the same command again"]);
    home.ok(restore);
    crate::trees::same(&source, &target);
}
