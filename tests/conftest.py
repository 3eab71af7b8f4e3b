"""Fixtures that every folder of tests may use."""

import os

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is; speed is measured in bench/.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Servers here live for seconds: code compiled only once takes half the processor time then, and twice later on.
os.environ.setdefault("THROUGHLINE_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

pytest_plugins = ["tests.neo4j_fixture"]
