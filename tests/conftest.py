"""Fixtures that every folder of tests may use."""

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is; speed is measured in bench/.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

pytest_plugins = ["tests.neo4j_fixture"]
