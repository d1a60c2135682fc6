"""A command that trains: its words, its run, what it leaves and what is left of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_search.core.own_training import SAMPLES, OwnCommand
from scaling_search.runtime import supervisor
from scaling_search.training.command_lines import (
    STDOUT,
    CommandError,
    CommandLostError,
    outcome,
    run,
    values,
)
from tests.tiny import tiny_trial

PATIENCE_SECONDS = 60
TOLD = "--depth {depth} --width {width} --res {resolution} --seed {seed}"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def ran(code: str, folder: Path, device: str = "cpu") -> list[dict[str, Any]]:
    """Runs Python code as a command; returns the reports that it was heard to print."""
    reports: list[dict[str, Any]] = []
    run(python(code), folder, device, reports.append)
    return reports


def until(ready: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_command_gets_the_multipliers_the_pixels_and_the_seed() -> None:
    trial = tiny_trial(3, seed=5)
    coefficients, network = trial.candidate.coefficients, trial.candidate.architecture
    assert OwnCommand(f"train {TOLD}").words(values(trial, Path("/a b"), "cpu")) == [
        *("train", "--depth", str(coefficients.alpha), "--width", str(coefficients.beta)),
        *("--res", str(network.resolution), "--seed", "5"),
    ]


@given(st.text(max_size=20))
def test_a_value_is_never_more_than_a_word(value: str) -> None:
    assert OwnCommand("a 'b {x}' {x}{x} {{x}}").words({"x": value}) == [
        "a",
        f"b {value}",
        2 * value,
        "{x}",
    ]


def test_the_names_to_try_a_command_with_are_those_that_it_gets() -> None:
    got = values(tiny_trial(), Path("a"), "cpu")
    assert list(got) == list(SAMPLES)


def test_a_value_takes_a_format() -> None:
    assert OwnCommand("{depth:.2f}").words({"depth": 1.1025}) == ["1.10"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{sys.executable} {TOLD} 'x", "No closing quotation"),
        (f"{sys.executable} {TOLD} {{lr}}", "{lr} is none of {depth}, {width}, "),
        (f"{sys.executable} {TOLD} {{seed.real}}", "{seed.real} is none of "),
        (f"{sys.executable} {TOLD} {{}}", "{0} is none of "),
        (f"{sys.executable} {TOLD} {{seed", "expected '}'"),
        (f"{sys.executable} {TOLD.replace('{seed}', '0')}", "must hold {seed}"),
        (f"{sys.executable} {TOLD.replace('{width}', '1')}", "must hold {width}"),
        (f"no-such-program {TOLD}", "a program that is here, got 'no-such-program'"),
    ],
)
def test_a_command_that_cannot_be_run_as_meant_is_refused(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^training\.command must") as refused:
        OwnCommand(line).check()
    assert says in str(refused.value)
    OwnCommand(f"{sys.executable} {TOLD}", "nice -n 5").check()
    with pytest.raises(ValueError, match=r"training.command must begin with .* got 'no-srun'"):
        OwnCommand(f"{sys.executable} {TOLD}", "no-srun").check()


def test_the_result_is_the_line_with_the_metric_and_lines_on_epochs_are_reports(
    tmp_path: Path,
) -> None:
    code = """if True:
        print('{"lr": 0.1}'); print("a word"); print('{"epoch": 1, "dice": 0.2}')
        print('{"epoch": 2, "dice": 0.3}', flush=True); print('{"dice": 0.4, "f1": 0.5}')"""
    reports = ran(code, tmp_path)
    assert outcome(tmp_path, "dice") == {"dice": 0.4, "f1": 0.5}
    assert reports == [{"epoch": 1, "dice": 0.2}, {"epoch": 2, "dice": 0.3}]


def test_without_a_result_the_last_report_is_it(tmp_path: Path) -> None:
    ran("""print('{"epoch": 1, "dice": 0.2}'); print('{"epoch": 2, "dice": 0.3}')""", tmp_path)
    assert outcome(tmp_path, "dice") == {"epoch": 2, "dice": 0.3}


def test_a_file_is_a_result_and_one_of_an_earlier_try_is_not(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    ran(f"open({str(file)!r}, 'w').write('{{\"dice\": 0.6}}')", tmp_path)
    assert outcome(tmp_path, "dice") == {"dice": 0.6}
    ran("print('nothing')", tmp_path)
    with pytest.raises(CommandError, match="must print a JSON line with its result or write"):
        outcome(tmp_path, "dice")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("pass", 'got neither; print one such as {"dice": 0.5}'),
        ("print('{\"loss\": 0.5}')", "got neither"),
        ("print('{\"dice\": 1}'); print('{\"dice\": 2}')", "one result, got 2 that differ"),
        ("open(F, 'w').write('{\"dice\": 1}'); print('{\"dice\": 2}')", "got 2 that differ"),
        ("open(F, 'w').write('{\"dice\": ')", "result.json must be JSON"),
        ("open(F, 'w').write('[1]')", r"result.json must hold a JSON object, got \[1\]"),
    ],
)
def test_what_is_no_single_result_is_refused(code: str, says: str, tmp_path: Path) -> None:
    ran(f"F = {str(tmp_path / 'result.json')!r}\n{code}", tmp_path)
    with pytest.raises(CommandError, match=says):
        outcome(tmp_path, "dice")


def test_the_same_result_twice_is_one(tmp_path: Path) -> None:
    ran("print('{\"dice\": 1}'); print('{\"dice\": 1}')", tmp_path)
    assert outcome(tmp_path, "dice") == {"dice": 1}


def test_a_command_that_fails_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^exit code 1: ValueError: no pictures; more is in "):
        ran("raise ValueError('no pictures')", tmp_path)
    with pytest.raises(CommandError, match=r"^exit code 3: it said nothing; more is in "):
        ran("raise SystemExit(3)", tmp_path)


def test_a_command_that_a_signal_ends_is_lost(tmp_path: Path) -> None:
    with pytest.raises(CommandLostError, match="its command ended") as lost:
        ran("import os; os.kill(os.getpid(), 9)", tmp_path)
    assert lost.value.exitcode == -signal.SIGKILL


LEAVES = """if True:
    import subprocess, sys, time
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    left = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
    print(*(one.pid for one in left), flush=True)
    """


def test_nothing_of_a_command_is_left_once_it_ends(tmp_path: Path) -> None:
    ran(LEAVES, tmp_path)
    pids = [int(word) for word in (tmp_path / STDOUT).read_text().split()]
    assert len(pids) == 2
    assert not any(map(is_there, pids))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_nothing_of_a_command_is_left_once_its_starter_is_killed(
    number: signal.Signals, tmp_path: Path
) -> None:
    code = f"""if True:
        from pathlib import Path
        from scaling_search.training.command_lines import run
        import sys
        run([sys.executable, "-c", {LEAVES + "time.sleep(600)"!r}], Path("."), "cpu", print)"""
    starter = subprocess.Popen(python(code), cwd=tmp_path)
    printed = tmp_path / STDOUT
    until(lambda: printed.exists() and printed.read_text().endswith("\n"))
    starter.send_signal(number)
    if number == signal.SIGSTOP:
        starter.kill()
    starter.wait(PATIENCE_SECONDS)
    pids = [int(word) for word in printed.read_text().split()]
    until(lambda: not any(map(is_there, pids)))


STUBBORN = """if True:
    import json, signal, time
    def last_words(*_):
        time.sleep(1)
        print(json.dumps({"dice": 0.1}), flush=True)
        raise SystemExit
    signal.signal(signal.SIGTERM, last_words)
    print("began", flush=True)
    time.sleep(600)"""


def test_a_try_that_outlives_its_worker_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    code = f"""if True:
        from pathlib import Path
        from scaling_search.training.command_lines import run
        import sys
        run([sys.executable, "-c", {STUBBORN!r}], Path("."), "cpu", print)"""
    starter = subprocess.Popen(python(code), cwd=tmp_path)
    stdout = tmp_path / STDOUT
    until(lambda: stdout.exists() and stdout.read_text() == "began\n")
    starter.kill()
    starter.wait(PATIENCE_SECONDS)
    ran("print('{\"dice\": 0.9}')", tmp_path)
    assert outcome(tmp_path, "dice") == {"dice": 0.9}
    assert stdout.read_text() == '{"dice": 0.9}\n'


def test_a_command_can_be_interrupted_by_what_it_starts(tmp_path: Path) -> None:
    code = "import signal; print(json.dumps({'x': str(signal.getsignal(signal.SIGHUP))}))"
    ran(f"import json; {code}", tmp_path)
    assert outcome(tmp_path, "x") == {"x": str(signal.SIG_DFL)}


def test_a_command_runs_in_the_folder_that_it_is_given(tmp_path: Path) -> None:
    code = "import os; print('{\"x\": \"' + os.getcwd() + '\"}')"
    run(python(code), tmp_path / "own", "cpu", print, place=tmp_path)
    assert outcome(tmp_path / "own", "x") == {"x": str(tmp_path)}


def test_a_command_sees_the_gpu_of_its_worker_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os, json; print(json.dumps({'x': os.environ.get('CUDA_VISIBLE_DEVICES')}))"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    ran(code, tmp_path, "cuda:1")
    assert outcome(tmp_path, "x") == {"x": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    ran(code, tmp_path, "cuda:1")
    assert outcome(tmp_path, "x") == {"x": "6"}


@pytest.mark.parametrize(("words", "code"), [(["no-such-program"], 127), (["/"], 126)])
def test_the_supervisor_ends_as_a_shell_does_where_a_program_cannot_be_run(
    words: list[str], code: int
) -> None:
    started = [sys.executable, supervisor.__file__, "1", *words]
    ended = subprocess.run(started, stdin=subprocess.PIPE, capture_output=True, check=False)
    assert ended.returncode == code
    assert ended.stderr.count(b"\n") == 1
