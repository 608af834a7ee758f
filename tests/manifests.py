"""Checks that the example for Kubernetes says what the server needs, beside the schemas, which know only Kubernetes.

    tests/manifests.py BINARY

Needs PyYAML. `tests/deployment.sh` runs it.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "examples/kubernetes"
SECRETS = "/run/secrets/throng"


def seconds(text, key):
    """Returns the seconds of a key in the settings."""
    return int(re.search(rf'^\s*{key} = "(\d+)s"', text, re.MULTILINE)[1])


def check_settings(binary, settings):
    """Lets the server check the settings, with files in place of the secrets."""
    with tempfile.TemporaryDirectory() as folder:
        secrets = {"redis-password": "secret", "token-secret": "s" * 32, "api-keys": "an-example-key-of-16"}
        for name, text in secrets.items():
            Path(folder, name).write_text(text)
        assert settings.count(SECRETS) == len(secrets), "a secret that this test does not know"
        file = Path(folder, "throng.toml")
        file.write_text(settings.replace(SECRETS, folder))
        command = [binary, "check-config", "--config", file]
        done = subprocess.run(command, env={**os.environ, "THRONG_NODE": "throng-1"}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        # The tests may have fewer descriptors than a node.
        warnings = [line for line in done.stderr.splitlines() if "max_connections" not in line]
        assert not warnings, warnings


def main():
    objects = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            objects[each["kind"], each["metadata"]["name"]] = each
    settings = objects["ConfigMap", "throng"]["data"]["throng.toml"]
    check_settings(sys.argv[1], settings)

    deployment = objects["Deployment", "throng"]["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > pause + seconds(settings, "window")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    listens = {int(port) for port in re.findall(r'^\s*listen = ".*:(\d+)"', settings, re.MULTILINE)}
    assert set(ports.values()) == listens, (ports, listens)
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert asked["path"] == path and asked["port"] in ports, probe
    labels = deployment["template"]["metadata"]["labels"].items()
    budget = objects["PodDisruptionBudget", "throng"]["spec"]
    assert budget["maxUnavailable"] < deployment["replicas"]
    assert budget["selector"]["matchLabels"].items() <= labels
    for name in ("throng", "throng-api"):
        service = objects["Service", name]["spec"]
        assert service["selector"].items() <= labels
        assert all(port["targetPort"] in ports for port in service["ports"]), name
    engine = re.search(r'^\s*addresses = \["(.*):(\d+)"\]', settings, re.MULTILINE)
    assert objects["Service", engine[1]]["spec"]["ports"][0]["port"] == int(engine[2])
    print(f"kubernetes: ok, {len(objects)} objects")


main()
