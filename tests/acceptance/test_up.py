"""`headrace up` as a user runs it: the real processes, from the wheel, on a home of their own."""

import compileall
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import psutil
import pytest
import urllib3
from example_pipelines import EXAMPLES, ROOT, Example, serving_files
from waiting import eventually

pytestmark = pytest.mark.slow

HEADRACE = [sys.executable, "-m", "headrace.cli.main"]
BY_CURL = """\
curl() {{
  command curl --write-out '%{{stderr}}%{{http_code}}\\n' "$@" 2>code | tee answer
  cat code >> codes
  grep --quiet '^2..$' code || {{ grep --quiet '^409$' code && [[ "$*" == *cancel ]]; }}
}}
id_of_the_answer() {{ {python} -c 'import json; print(json.load(open("answer"))["id"])'; }}
{script}
"""


class Platform:
    """A `headrace up` that this test started."""

    def __init__(self, home: Path, process: subprocess.Popen[str]) -> None:
        self.home = home
        self.process = process
        self.printed = ""

    def read_until(self, text: str) -> str:
        """Return what was printed up to a line with the text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if text in line:
                return self.printed
        raise AssertionError(f"It ended without saying {text!r}:\n{self.printed}")

    def headrace(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same home."""
        return subprocess.run(
            [*HEADRACE, *arguments, "--home", str(self.home)],
            env=environment(self.home),
            capture_output=True,
            text=True,
            check=False,
        )

    def family(self) -> list[psutil.Process]:
        """Return the supervisor's children and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def up(home: Path, *options: str) -> Iterator[Platform]:
    """Start the platform; kill what is left of it at the end."""
    process = subprocess.Popen(
        [*HEADRACE, "up", "--home", str(home), "--port", "0", "--dagster-port", "0", *options],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield Platform(home, process)
        finally:
            for member in family_of(process.pid):
                member.kill()
            process.kill()


def environment(home: Path) -> dict[str, str]:
    """Return an environment whose keys are the test's own, and not this machine's user's."""
    return {**os.environ, "HEADRACE_CONFIG_DIR": str(home.parent / "config")}


def family_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def ended(processes: list[psutil.Process]) -> bool:
    alive = [process for process in processes if process.is_running()]
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


@pytest.fixture(scope="module", autouse=True)
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The wheel, built and unpacked: every process of these tests takes Headrace from it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [made] = folder.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(folder / "unpacked")
    compileall.compile_dir(folder / "unpacked", quiet=1)  # once, and not in each process that starts
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "unpacked"))
        yield folder / "unpacked"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform that has run the sample."""
    with up(tmp_path_factory.mktemp("platform") / "home", "--sample") as started:
        started.read_until("Ctrl-C stops")
        yield started
        family = started.family()
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(10) == 0
        eventually(lambda: ended(family), seconds=1, what="The end of every process")
        assert started.headrace("pipelines", "list").returncode == 69


def test_the_platform_runs_from_the_wheel(platform: Platform, wheel: Path) -> None:
    imports = "import headrace, headrace_api, headrace_dagster as d; print(headrace.__file__, d.__file__)"
    found = subprocess.run([sys.executable, "-c", imports], check=True, capture_output=True, text=True).stdout

    assert [Path(path).parents[1] for path in found.split()] == [wheel, wheel]
    assert {process.environ()["PYTHONPATH"] for process in platform.family()} == {str(wheel)}


def test_the_sample_runs_to_success_and_its_result_is_printed(platform: Platform) -> None:
    printed = platform.printed

    assert "The sample succeeded: Seattle weather" in printed
    assert re.search(r"Rows +1,461", printed)
    assert re.search(r"2012-01-01 +0\.0 +12\.8", printed)
    assert (platform.home / "sample.duckdb").exists()


def test_the_links_that_are_printed_work(platform: Platform) -> None:
    http = urllib3.PoolManager()
    links = dict(re.findall(r"^(REST docs|Dagster UI) +(\S+)", platform.printed, re.MULTILINE))

    docs = http.request("GET", links["REST docs"])
    signed_in = http.request("GET", links["Dagster UI"], redirect=False)

    assert docs.status == 200
    assert signed_in.status == 303
    assert "headrace_session" in signed_in.headers["Set-Cookie"]


def test_another_link_to_the_dagster_ui_can_be_had(platform: Platform) -> None:
    link = platform.headrace("ui").stdout.strip()

    assert urllib3.PoolManager().request("GET", link, redirect=False).status == 303


def test_the_token_that_is_printed_is_the_owners(platform: Platform) -> None:
    token = platform.headrace("token").stdout
    url = re.search(r"REST API +(\S+)", platform.printed)
    assert url is not None

    answer = urllib3.request("GET", f"{url[1]}/tokens", headers={"Authorization": f"Bearer {token.strip()}"})

    assert token.count("\n") == 1
    assert answer.status == 200


def test_the_doctor_finds_nothing_wrong(platform: Platform) -> None:
    outcome = platform.headrace("doctor")

    assert outcome.returncode == 0, outcome.stdout


def test_the_sample_can_be_run_again_and_followed(platform: Platform) -> None:
    outcome = platform.headrace("pipelines", "run", "Seattle weather", "--follow", "--json")

    run = json.loads(outcome.stdout)
    assert (outcome.returncode, run["status"], run["rows"]) == (0, "success", 1461)


def test_a_runs_log_is_followed_to_its_end(platform: Platform) -> None:
    runs = json.loads(platform.headrace("runs", "list", "--status", "success", "--json").stdout)

    outcome = platform.headrace("runs", "logs", runs[0]["id"], "--follow")

    assert outcome.returncode == 0
    assert "seattle_weather" in outcome.stdout


def test_an_output_is_downloaded_as_csv(platform: Platform, tmp_path: Path) -> None:
    runs = json.loads(platform.headrace("runs", "list", "--status", "success", "--json").stdout)
    target = tmp_path / "weather.csv"

    platform.headrace("runs", "download", runs[0]["id"], "--format", "csv", "-o", str(target))

    assert len(target.read_text().splitlines()) == 1462


def test_a_pipeline_of_a_file_is_created_shown_and_deleted(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "dummy.yaml"
    source = {"name": "dummy", "stream": "creatures"}
    file.write_text(json.dumps({"name": "creatures", "source": source, "destination": {"name": "logger"}}))

    created = json.loads(platform.headrace("pipelines", "create", "-f", str(file), "--json").stdout)
    shown = platform.headrace("pipelines", "show", "creatures")
    deleted = platform.headrace("pipelines", "delete", created["id"], "--yes")

    assert "stream: creatures" in shown.stdout
    assert deleted.returncode == 0
    assert platform.headrace("pipelines", "show", created["id"]).returncode == 3


def test_an_example_runs_by_the_commands_of_its_page(platform: Platform, tmp_path: Path) -> None:
    name = "csv_over_http_to_duckdb"
    commands = re.findall(
        r"^\.venv/bin/headrace (.+)$", (EXAMPLES / name / "README.md").read_text(), re.MULTILINE
    )

    with serving_files(EXAMPLES / name / "data") as url:
        replaced = Example.read(name, tmp_path, {"http://127.0.0.1:8901": url})
        file = tmp_path / "pipeline.yaml"
        file.write_text(json.dumps(replaced.config))
        for command in commands:
            outcome = platform.headrace(
                *shlex.split(command.replace(f"examples/{name}/pipeline.yaml", str(file)))
            )
            assert outcome.returncode == 0, outcome.stderr

    assert len(commands) == 2
    with duckdb.connect(replaced.destination["path"], read_only=True) as connection:
        assert connection.execute("SELECT count(*), sum(total) FROM orders").fetchall() == [(5, 773.65)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_page_of_requests_by_curl_can_be_followed_from_top_to_bottom(
    platform: Platform, tmp_path: Path
) -> None:
    page = (EXAMPLES.parent / "docs" / "rest-by-curl.md").read_text()
    script = "\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL))
    url = re.search(r"REST API +(\S+)/api", platform.printed)
    assert url is not None
    replaced = {
        "http://127.0.0.1:8000": url[1],
        ".venv/bin/headrace token": f"cat {platform.home}/owner.token",
        "/tmp/creatures": f"{tmp_path}/creatures",
        "PIPELINE=...": "PIPELINE=$(id_of_the_answer)",
        "RUN=...": "RUN=$(id_of_the_answer)",
    }
    for old, new in replaced.items():
        assert old in script
        script = script.replace(old, new)
    (tmp_path / "page.sh").write_text(BY_CURL.format(script=script, python=sys.executable))

    done = subprocess.run(
        ["bash", "-e", "page.sh"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "codes").read_text().split().count("409") == 1  # the run had ended
    assert len(list(tmp_path.glob("*.parquet"))) == 1


def test_connectors_are_listed_and_shown(platform: Platform) -> None:
    listed = platform.headrace("connectors", "list")
    shown = platform.headrace("connectors", "show", "source", "files")

    assert "postgres" in listed.stdout
    assert "paths" in shown.stdout


def test_no_secret_is_in_an_environment_or_a_command_line(platform: Platform) -> None:
    token = platform.headrace("token").stdout.strip()

    for process in platform.family():
        assert token not in "".join(process.environ().values())
        assert token not in "".join(process.cmdline())


def test_a_home_takes_one_platform_at_a_time(platform: Platform) -> None:
    second = platform.headrace("up", "--port", "0", "--dagster-port", "0")

    assert second.returncode == 4
    assert "Another `headrace up`" in second.stderr


def test_a_process_that_was_killed_is_back_and_that_was_said(platform: Platform) -> None:
    api = next(process for process in platform.family() if "headrace_api" in process.cmdline())

    api.kill()

    platform.read_until("api was ended by SIGKILL")
    eventually(lambda: platform.headrace("doctor").returncode == 0, seconds=30)


def test_a_signal_during_the_start_stops_every_process(tmp_path: Path) -> None:
    with up(tmp_path / "home") as platform:
        eventually(lambda: (tmp_path / "home" / "logs" / "api.log").exists(), seconds=20)
        family = platform.family()

        platform.process.send_signal(signal.SIGTERM)

        assert platform.process.wait(10) == 0
        assert ended(family)


def test_a_taken_port_is_named_with_its_option(tmp_path: Path, platform: Platform) -> None:
    url = re.search(r"REST API +http://127\.0\.0\.1:(\d+)/", platform.printed)
    assert url is not None

    with up(tmp_path / "home", "--port", url[1]) as second:
        assert second.process.wait(10) == 69
        assert second.process.stdout is not None
        assert f"Port {url[1]} on 127.0.0.1 (--port) is taken" in second.process.stdout.read()


def test_a_database_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    url = "postgresql://nobody:pa55word@127.0.0.1:9/none"

    with up(tmp_path / "home", "--database-url", url) as platform:
        assert platform.process.wait(20) == 69
        assert platform.process.stdout is not None
        said = platform.process.stdout.read()

    assert "pa55word" not in said
