import stat
import tempfile
from pathlib import Path

import pytest
import yaml

from headrace.settings import Settings
from headrace_dagster import home
from headrace_dagster.home import code_socket, prepare, workspace_file
from headrace_dagster.processes import commands


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_dagsters_folder_gets_the_file_in_use(settings: Settings) -> None:
    env = prepare(settings)

    file = Path(env["DAGSTER_HOME"]) / "dagster.yaml"
    assert yaml.safe_load(file.read_text())["telemetry"] == {"enabled": False}
    assert file.resolve() == workspace_file().with_name("dagster.yaml")


def test_preparing_again_changes_nothing(settings: Settings) -> None:
    assert prepare(settings) == prepare(settings)


def test_an_operators_own_dagster_yaml_stays(settings: Settings) -> None:
    prepare(settings)
    file = settings.dagster_home / "dagster.yaml"
    file.unlink()
    file.write_text("telemetry: {enabled: false}\n")

    prepare(settings)

    assert file.read_text() == "telemetry: {enabled: false}\n"
    assert not file.is_symlink()


def test_a_link_to_an_older_installation_is_renewed(settings: Settings, tmp_path: Path) -> None:
    prepare(settings)
    link = settings.dagster_home / "dagster.yaml"
    link.unlink()
    link.symlink_to(tmp_path / "gone" / "dagster.yaml")

    prepare(settings)

    assert link.is_file()


def test_the_code_servers_socket_is_in_a_folder_of_ones_own(settings: Settings) -> None:
    socket = code_socket(settings)

    assert socket == settings.root / "run" / "code.sock"
    assert mode_of(socket.parent) == 0o700


def test_a_long_home_puts_the_socket_into_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings, other = (Settings(home=tmp_path / (letter * 100)) for letter in "xy")

    socket = code_socket(settings)

    assert socket.parent.parent == tmp_path
    assert len(str(socket).encode()) < 104 + len(str(tmp_path))
    assert mode_of(socket.parent) == 0o700
    assert socket == code_socket(settings) != code_socket(other)


def test_a_missing_file_is_reported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(home, "_PACKAGE", tmp_path / "a" / "b")

    with pytest.raises(home.NoDagsterSettings, match=r"dagster\.yaml"):
        prepare(settings)


def test_the_workspace_names_the_socket_by_the_environment() -> None:
    (location,) = yaml.safe_load(workspace_file().read_text())["load_from"]

    assert location["grpc_server"] == {
        "socket": {"env": "HEADRACE_CODE_SOCKET"},
        "location_name": "headrace_dagster",
    }


def test_the_processes_carry_no_secret_in_their_arguments_or_environment(settings: Settings) -> None:
    processes = commands(settings)

    assert [process.name for process in processes] == ["dagster-code", "dagster-webserver", "dagster-daemon"]
    for process in processes:
        assert process.argv[1:3] == ("-P", "-m")
        assert set(process.env) == {
            "HEADRACE_HOME",
            "HEADRACE_CODE_SOCKET",
            "DAGSTER_HOME",
            "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD",
        }
