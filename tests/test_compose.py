"""docker-compose.yml is valid, and means what the app reads."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_the_file_follows_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, ROOT / "docker-compose.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_has_a_health_check_and_keeps_its_data():
    for name, service in SERVICES.items():
        assert "healthcheck" in service and service["volumes"], name


def test_ports_are_published_on_loopback_only():
    ports = [port for service in SERVICES.values() for port in service["ports"]]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_whoever_reaches_the_app_from_another_container_needs_a_password():
    assert "--expose" in SERVICES["app"]["command"]
    assert SERVICES["app"]["environment"]["THROUGHLINE_APP_PASSWORD"].startswith("${APP_PASSWORD:?")
    assert '"--expose"' in (ROOT / "Dockerfile").read_text()


def test_the_app_is_given_the_variables_that_it_reads():
    rooms = [*(ROOT / "ingest").glob("*.py"), *(ROOT / "app").glob("*.py")]
    read = set(re.findall(r"THROUGHLINE_\w+", "".join(path.read_text() for path in rooms)))
    given = {name for name in SERVICES["app"]["environment"] if name.startswith("THROUGHLINE_")}
    assert given and given <= read


def test_the_server_is_the_version_that_the_local_one_is():
    version = SERVICES["neo4j"]["image"].removeprefix("neo4j:").removesuffix("-community")
    assert version in (ROOT / "ingest" / "jars.lock.toml").read_text()


def test_the_image_copies_every_room():
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), flags=re.M))
    assert copied == {"tracer", "circuits", "ingest", "cypher", "app"}
