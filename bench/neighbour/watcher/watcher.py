"""The watcher: the one process that stops and starts the neighbour. See docs/neighbour.md.

Runs in a container of its own with the Docker socket's directory at /docker and the lease directory at
/lease. It is told its terms twice, in its environment and in `lease.json`; when the two differ, or renewals
stop, or the time is up, or it is told to, it ends the run's containers, waits for memory, starts the
neighbour, puts the restart policy back, records what it did, and retires. Everything it does can be done
again: it may be killed at any point, and goes on from `status.json` when Docker starts it anew.

Standard library only; imports nothing of ours, so that the image needs no installation.
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

LEASE_DIR = Path(os.environ.get("AUDITION_LEASE_DIR", "/lease"))
SOCKET = os.environ.get("AUDITION_DOCKER_SOCKET", "/docker/docker.sock")
BOOT_ID = Path(os.environ.get("AUDITION_BOOT_ID", "/proc/sys/kernel/random/boot_id"))
RUN_LABEL = "audition.run"
NETWORK_LABEL = "audition.network"
ROLE_LABEL = "audition.role"
TICK_S = 0.25
LOOK_S = 1.0
"""How often Docker is asked about the neighbour while it is held or watched."""
ROOM_SLACK = 0.05
"""Of the memory seen free with the neighbour stopped: others on the host may have taken that much since."""

Json = dict[str, Any]


class DockerError(Exception):
    """Docker does not answer (`code` None), or says no."""

    def __init__(self, message: str, code: int | None = None) -> None:
        """Keep the HTTP status beside the message."""
        super().__init__(message)
        self.code = code


class Refused(Exception):
    """The neighbour must not be stopped; it has not been."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the Docker socket."""

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def docker(method: str, path: str, body: Json | None = None, timeout_s: float = 30.0) -> Any:
    """Call the Engine API; return the decoded JSON, or the bytes, or None.

    No version in the path: every engine answers in its own, and old versions are being withdrawn.
    """
    connection = UnixConnection("docker", timeout=timeout_s)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise DockerError(f"Docker does not answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status >= 400:
        raise DockerError(
            f"{method} {path}: {answer.status} {raw[:300].decode(errors='replace')}", answer.status
        )
    if "json" in (answer.getheader("Content-Type") or "") and raw:
        return json.loads(raw)
    return raw or None


def boottime_s() -> float:
    """Seconds since this boot, suspension included: no clock change moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Name this boot: a time of another boot means nothing."""
    return BOOT_ID.read_text().strip()


def utc() -> str:
    """Return the wall clock, for people only."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def available_bytes() -> int:
    """MemAvailable of the host: /proc/meminfo is not namespaced."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("no MemAvailable in /proc/meminfo")


def write_durably(path: Path, value: Json) -> None:
    """Replace a JSON file, whole or not at all, and durable when this returns."""
    scratch = path.with_name(f".{path.name}.watcher")
    with scratch.open("w") as stream:
        json.dump(value, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_json(path: Path) -> Json:
    """Read a JSON object; ValueError says what is wrong with it, a missing file included."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is not an object")
    return value


def say(message: str) -> None:
    """Write a line to the container's log."""
    sys.stdout.write(f"{utc()} {message}\n")
    sys.stdout.flush()


class Watcher:
    """One lease, from armed to retired."""

    def __init__(self, terms: Json) -> None:
        """Begin with the terms alone: `resume` looks for an earlier life."""
        self.terms = terms
        self.container: str = terms["container_id"]
        self.told_to_end = False
        self.recorded = True
        self.status: Json = {
            "lease_id": terms["lease_id"],
            "run_id": terms["run_id"],
            "terms": terms,
            "state": "new",  # armed, stopping, held, restoring, restored; or refused
            "reason": None,
            "touched": False,  # whether the neighbour may have been stopped by us, or went down beside us
            "watcher_starts": 0,
            "started_at": None,  # Docker's word on the neighbour's start when it was armed
            "stopping_since_boottime_s": None,  # a stop was sent and has not been seen to end
            "ending_since_boottime_s": None,
            "available_bytes_before_stop": None,
            "available_bytes_held": None,
            "stopped_boottime_s": None,
            "started_boottime_s": None,
            "paused_s": None,
            "start_attempts": 0,
            "engines_ended": [],
            "engines_left": [],
            "floor_reached": None,
            "room_wanted_bytes": None,
            "available_bytes_at_start": None,
            "policy_restored": None,
            "ready": None,
            "ready_s": None,  # from its start until /health answered
            "ended_utc": None,
            "events": [],
        }

    # Records

    def note(self, message: str, **changes: Any) -> None:
        """Record an event and changes of the status; a full disk does not keep the neighbour down."""
        self.enter(message, **changes)
        try:
            write_durably(LEASE_DIR / "status.json", self.status)
        except OSError as error:
            say(f"the record could not be written: {error}")

    def must_note(self, message: str, **changes: Any) -> None:
        """Record an event and changes of the status; or raise OSError, and nothing of it counts."""
        before = self.status
        self.enter(message, **changes)
        try:
            write_durably(LEASE_DIR / "status.json", self.status)
        except OSError:
            self.status = before
            raise

    def enter(self, message: str, **changes: Any) -> None:
        """Change the status and add an event, in memory."""
        say(message)
        event = {"utc": utc(), "boottime_s": round(boottime_s(), 3), "what": message}
        self.status = {
            **self.status, **changes, "updated_utc": utc(), "events": [*self.status["events"], event],
        }  # fmt: skip

    def resume(self) -> str:
        """Take over an earlier life's status; return the state it was in, `new` without a legible one."""
        try:
            earlier = read_json(LEASE_DIR / "status.json")
        except ValueError:
            return "new"
        legible = all(isinstance(earlier.get(key), type(self.status[key])) for key in ("events", "state"))
        if earlier.get("lease_id") != self.terms["lease_id"] or not legible:
            return "new"
        self.status.update(earlier)
        return str(self.status["state"])

    # What the files say

    def action(self) -> tuple[str | None, str]:
        """Return what the holder asks for (`stop`, `release` or None) and why."""
        try:
            request = read_json(LEASE_DIR / "request.json")
        except ValueError:
            return None, ""
        if request.get("lease_id") != self.terms["lease_id"]:
            return None, ""
        return request.get("action"), str(request.get("reason") or "")

    def over(self) -> str | None:
        """Return why the lease is over, None while it holds."""
        if self.told_to_end:
            action, reason = self.action()
            return f"released: {reason}" if action == "release" else "the watcher was told to end (SIGTERM)"
        if self.terms.get("restore_only"):
            return "restoring was asked for"
        if boot_id() != self.terms["boot_id"]:
            return "the host was booted anew"
        try:
            if read_json(LEASE_DIR / "lease.json") != self.terms:
                return "lease file damaged: it differs from the terms agreed on"
        except ValueError as error:
            return f"lease file damaged: {error}"
        action, reason = self.action()
        if action == "release":
            return f"released: {reason}" if reason else "released"
        now = boottime_s()
        if now >= self.terms["hard_deadline_boottime_s"]:
            return f"hard deadline reached ({self.terms['hard_limit_s']:.0f} s)"
        return self.lapsed(now)

    def lapsed(self, now: float) -> str | None:
        """Return why the last renewal does not hold, None while it does."""
        try:
            renewal = read_json(LEASE_DIR / "renewal.json")
            age = now - float(renewal["boottime_s"])
        except (ValueError, KeyError, TypeError) as error:
            return f"renewal file damaged: {error}"
        if (
            renewal.get("lease_id") != self.terms["lease_id"]
            or renewal.get("boot_id") != self.terms["boot_id"]
        ):
            return "renewal file damaged: it is of another lease or boot"
        if age < -1.0:
            return "renewal file damaged: it is from the future"
        if age > self.terms["ttl_s"]:
            return f"no renewal for {age:.1f} s (TTL {self.terms['ttl_s']:.0f} s)"
        return None

    # What Docker says

    def inspect(self) -> Json:
        """Return Docker's inspection of the neighbour, by id, so that no other container can be meant."""
        found: Json = docker("GET", f"/containers/{self.container}/json")
        return found

    def running(self) -> bool:
        """Tell whether the neighbour runs now."""
        return bool(self.inspect()["State"]["Running"])

    def set_policy(self, container: str, policy: Json) -> None:
        """Set a container's restart policy in place."""
        docker("POST", f"/containers/{container}/update", {"RestartPolicy": policy})

    def ours(self) -> list[Json]:
        """List the run's containers, watchers left out; those without the exact label are never touched."""
        wanted = json.dumps({"label": [f"{RUN_LABEL}={self.terms['run_id']}"]})
        found = docker("GET", f"/containers/json?all=1&filters={urllib.parse.quote(wanted)}")
        return [
            each for each in found
            if (each.get("Labels") or {}).get(RUN_LABEL) == self.terms["run_id"]
            and each["Labels"].get(ROLE_LABEL) != "watcher"
            and each["Id"] != self.container
        ]  # fmt: skip

    # What the watcher does

    def arm(self) -> None:
        """Say that all is ready, where it is."""
        self.must_note("armed", state="armed", started_at=self.inspect()["State"].get("StartedAt"))

    def look_first(self) -> None:
        """Ask Docker how the neighbour is where no record of ours says it: a first life, or a lost record.

        A lease is agreed on only while the neighbour runs with its own policy, and a stop is asked for only
        after a first word of ours. If that is not so now, an earlier life of ours acted, or may have.
        """
        found = self.inspect()
        running = found["State"]["Running"]
        policy = found["HostConfig"]["RestartPolicy"]
        same = (policy.get("Name") or "no") == self.terms["policy"]["Name"]
        asked = self.action()[0] == "stop"
        if running and same and not asked:
            return
        self.note("the neighbour is not as it was agreed on, and no record says why", touched=True)
        if running and asked:  # it may be on its way down
            self.status.update(
                started_at=found["State"].get("StartedAt"), stopping_since_boottime_s=boottime_s()
            )

    def stop_neighbour(self) -> None:
        """Set the policy to `always`, then stop: from here on even a power loss brings it back."""
        free = available_bytes()
        try:
            self.must_note(
                "stopping the neighbour", state="stopping", touched=True,
                stopping_since_boottime_s=boottime_s(), available_bytes_before_stop=free,
            )  # fmt: skip
        except OSError as error:
            raise Refused(f"the lease cannot be recorded: {error}") from error
        self.set_policy(self.container, {"Name": "always", "MaximumRetryCount": 0})
        self.stop(self.terms["stop_timeout_s"])
        self.must_note(
            "the neighbour is stopped", state="held", stopping_since_boottime_s=None,
            stopped_boottime_s=boottime_s(), available_bytes_held=available_bytes(),
        )  # fmt: skip

    def stop(self, grace_s: float) -> None:
        """Have Docker stop the neighbour and wait until it has; 304 says that it was not running."""
        grace = max(0, int(grace_s))
        docker("POST", f"/containers/{self.container}/stop?t={grace}", timeout_s=grace + 30)

    def finish_stop(self) -> None:
        """See a stop to its end that was sent and not seen to end: Docker goes on with it without us.

        Were the neighbour taken for running now, and left alone, it would go down when that stop is done. So
        it is stopped once more and waited for, with what is left of the time it was given. A neighbour that
        was started since (Docker was restarted) has no stop pending.
        """
        since = self.status["stopping_since_boottime_s"]
        if since is None:
            return
        state = self.inspect()["State"]
        if state["Running"] and state.get("StartedAt") == self.status["started_at"]:
            self.note("a stop of the neighbour was not seen to end: waiting for it")
            passed = boottime_s() - since
            grace = float(self.terms["stop_timeout_s"])
            self.stop(grace - passed if 0 <= passed <= grace else 0)
            self.status["stopped_boottime_s"] = boottime_s()
        self.status["stopping_since_boottime_s"] = None

    def end_engines(self) -> bool:
        """Kill and remove the run's containers; return whether none is left.

        One that cannot be ended (a process that the kernel does not let go) keeps nothing else from being done.
        """
        for each in self.ours():
            name = (each.get("Names") or ["?"])[0].lstrip("/")
            ended = {"id": each["Id"], "name": name, "log_tail": self.log_tail(each["Id"])}
            try:
                docker("DELETE", f"/containers/{each['Id']}?force=1", timeout_s=20)
            except DockerError as error:
                if error.code not in (404, 409):  # gone already, or going
                    say(f"{name} cannot be ended: {error}")
                    continue
            if each["Id"] not in [known["id"] for known in self.status["engines_ended"]]:
                self.status["engines_ended"].append(ended)
                self.note(f"ended {name}")
        self.remove_networks()
        left = [(each.get("Names") or ["?"])[0].lstrip("/") for each in self.ours()]
        self.status["engines_left"] = left
        return not left

    def remove_networks(self) -> None:
        """Remove the networks of engines that nothing runs on any more; one that stays keeps nothing else back."""
        wanted = urllib.parse.quote(json.dumps({"label": [NETWORK_LABEL]}))
        try:
            found = docker("GET", f"/networks?filters={wanted}", timeout_s=5) or []
        except DockerError as error:
            return say(f"the networks of engines stay: {error}")
        for each in found:
            if NETWORK_LABEL in (each.get("Labels") or {}):
                with contextlib.suppress(DockerError):  # in use, or gone already
                    docker("DELETE", f"/networks/{each['Id']}", timeout_s=5)

    def log_tail(self, container: str) -> str:
        """Return the last lines a container wrote, for the record; empty when Docker will not say."""
        try:
            raw = docker("GET", f"/containers/{container}/logs?stdout=1&stderr=1&tail=20", timeout_s=5)
        except DockerError:
            return ""
        text, at = b"", 0
        raw = raw if isinstance(raw, bytes) else b""
        while at + 8 <= len(raw):  # frames: stream, 3 zero bytes, length; then the bytes
            size = int.from_bytes(raw[at + 4 : at + 8], "big")
            text += raw[at + 8 : at + 8 + size]
            at += 8 + size
        return text[-2000:].decode(errors="replace")

    def room_wanted(self) -> int:
        """Return how much memory must be free before the start: the floor, and what the neighbour gave up.

        What it gave up is what MemAvailable rose by when it stopped. Beside that the floor stays free, as far
        as it was free then: a neighbour that fills the host leaves less.
        """
        floor = int(self.terms["floor_bytes"])
        before, held = self.status["available_bytes_before_stop"], self.status["available_bytes_held"]
        if before is None or held is None:
            return floor
        gave_up = max(0, int(held) - int(before))
        return max(floor, min(gave_up + floor, int(held * (1 - ROOM_SLACK))))

    def await_memory(self) -> None:
        """Wait until the memory the neighbour needs is there; after `floor_wait_s` start it all the same."""
        wanted, end = self.room_wanted(), boottime_s() + self.terms["floor_wait_s"]
        while True:
            free = available_bytes()
            if free >= wanted or boottime_s() >= end:
                self.status.update(
                    floor_reached=free >= wanted, available_bytes_at_start=free, room_wanted_bytes=wanted
                )
                if free < wanted:
                    self.note(
                        f"memory stayed below what it needs: {free} of {wanted} bytes; starting all the same"
                    )
                return
            self.end_engines()
            time.sleep(TICK_S)

    def ready(self) -> bool | None:
        """Tell whether the neighbour's `/health` answers 200; None when no address is known."""
        url = self.terms.get("health_url")
        if not url:
            return None
        try:
            # No proxy: Docker's client may hand its own to every container, and none leads to this host's 127.0.0.1.
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def bring_up(self) -> None:
        """Start the neighbour until it stays up, then put its policy back; then wait until it is ready, where
        that can be asked, and start it again should it fall meanwhile. Never gives up.
        """
        up_since: float | None = None
        restarts = -1
        ready_end = boottime_s() + self.terms["ready_wait_s"]
        pause = 0.5
        while True:
            found = self.inspect()
            state = found["State"]
            if state.get("Paused"):
                docker("POST", f"/containers/{self.container}/unpause")
            elif not state["Running"] and not state.get("Restarting"):
                up_since = None
                if self.status["start_attempts"] and self.status["started_boottime_s"]:
                    time.sleep(pause)
                    pause = min(2 * pause, 30.0)
                self.status["start_attempts"] += 1
                docker("POST", f"/containers/{self.container}/start", timeout_s=120)
                self.note("started the neighbour", started_boottime_s=boottime_s())
                continue
            if up_since is None or found["RestartCount"] != restarts or state.get("Restarting"):
                up_since, restarts = boottime_s(), found["RestartCount"]
            settled = boottime_s() - up_since >= self.terms["stay_up_s"]
            if settled and not self.status["policy_restored"]:
                self.put_policy_back()
            self.status["ready"] = self.ready()
            if settled and (self.status["ready"] is not False or boottime_s() >= ready_end):
                return
            time.sleep(TICK_S)

    def put_policy_back(self) -> None:
        """Put the restart policy back: from here on the neighbour is its owner's, and we only look after it."""
        self.set_policy(self.container, self.terms["policy"])
        stopped, started = self.status["stopped_boottime_s"], self.status["started_boottime_s"]
        same_boot = boot_id() == self.terms["boot_id"]
        paused = round(started - stopped, 3) if same_boot and started and stopped else None
        self.note("the policy is put back", policy_restored=True, paused_s=paused)

    def restore(self, reason: str) -> None:
        """Give the neighbour back; repeated by `run` until Docker lets it."""
        if self.status["state"] != "restoring":
            self.note(
                f"restoring: {reason}", state="restoring", reason=reason, ending_since_boottime_s=boottime_s()
            )
        while not self.end_engines():
            since = self.status["ending_since_boottime_s"]
            if since is None or not 0 <= boottime_s() - since <= self.terms["floor_wait_s"]:
                left = ", ".join(self.status["engines_left"])
                self.note(f"{left} cannot be ended; starting the neighbour all the same")
                break
            time.sleep(TICK_S)
        self.give_back()
        self.end_engines()  # the run may have started one since

    def docker_took_it_down(self) -> bool:
        """Tell whether it went down with a Docker that was restarted, and us with it.

        A Docker that finds containers of its killed predecessor stops them, and then holds that they were
        stopped by hand: `unless-stopped` keeps them down (seen with 20.10).
        """
        down: bool = self.status["watcher_starts"] > 1 and not self.running()
        if down:
            self.note("the neighbour went down while Docker was restarted", touched=True)
        return down

    def give_back(self) -> None:
        """Start the neighbour, see it stay up, put its policy back; what was not stopped is left alone."""
        try:
            if not self.status["touched"] and not self.docker_took_it_down():
                self.note("the neighbour had not been stopped")
                return
            self.finish_stop()
            # Until it is up again Docker itself is to restart it: after a power loss, after a failed start.
            if not self.running():
                self.set_policy(self.container, {"Name": "always", "MaximumRetryCount": 0})
                self.status["policy_restored"] = None
                self.await_memory()
            self.bring_up()
        except DockerError as error:
            # Docker answers 404 to a start for other reasons too: a network or a device that is not there.
            if error.code != 404 or not self.is_gone():
                raise
            self.note("the container is gone: somebody removed it", policy_restored=False)
            return
        started = self.status["started_boottime_s"]
        if self.status["ready"] and started:
            self.status["ready_s"] = round(boottime_s() - started, 3)
        self.note("the neighbour is given back")

    def is_gone(self) -> bool:
        """Tell whether there is no such container any more."""
        try:
            self.inspect()
        except DockerError as error:
            return error.code == 404
        return False

    def retire(self, state: str) -> None:
        """Record the end, free the lease, and leave nothing on the host."""
        if not self.status["ended_utc"]:
            try:
                self.must_note(f"retired: {state}", state=state, ended_utc=utc())
                with (LEASE_DIR / "history.jsonl").open("a") as stream:
                    stream.write(json.dumps({**self.status, "terms": self.terms}) + "\n")
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as error:
                say(f"the record could not be written: {error}")
                self.recorded = False
        for name in ("lease.json", "renewal.json", "request.json"):
            if self.is_ours(name):
                with contextlib.suppress(OSError):
                    (LEASE_DIR / name).unlink(missing_ok=True)
        me = self.terms["watcher_name"]
        self.set_policy(me, {"Name": "no", "MaximumRetryCount": 0})
        if self.recorded:  # else this container's log and exit code are the record
            docker("DELETE", f"/containers/{me}?force=1")

    def is_ours(self, name: str) -> bool:
        """Tell whether a file is of this lease, or illegible; another run's is not ours to remove."""
        try:
            return bool(read_json(LEASE_DIR / name).get("lease_id") == self.terms["lease_id"])
        except ValueError:
            return True

    def changed(self) -> str | None:
        """Return what has become of the neighbour that ends the lease, None while it is as it should be.

        Held, it must be down: its owner, systemd or a Docker restart may start it. In parallel mode it must
        be up, and not have fallen and been started by Docker's policy.
        """
        try:
            state = self.inspect()["State"]
        except DockerError as error:  # gone: nothing to hold. Else Docker is down: we look again
            return "the container is gone" if error.code == 404 else None
        if self.terms["mode"] == "pause":
            started = "the neighbour was started by another (its owner, systemd, or Docker's restart)"
            return started if state["Running"] else None
        if state["Running"] and state.get("StartedAt") == self.status["started_at"]:
            return None
        self.status["touched"] = True  # whoever or whatever ended it: it is to be up
        return "the neighbour went down beside the engine"

    def hold(self) -> str:
        """Watch until the lease is over; return why."""
        look = 0.0
        while True:
            why = self.over()
            if why:
                return why
            if (
                self.status["state"] == "armed"
                and self.terms["mode"] == "pause"
                and self.action()[0] == "stop"
            ):
                self.stop_neighbour()
                continue
            if available_bytes() < self.terms["watch_bytes"] and self.status["state"] != "armed":
                return f"MemAvailable fell below {self.terms['watch_bytes']} bytes"
            if self.terms["mode"] == "parallel" and self.status["state"] == "armed":
                self.must_note("watching beside the neighbour", state="held")
            if self.status["state"] == "held" and boottime_s() >= look:
                look = boottime_s() + LOOK_S
                why = self.changed()
                if why:
                    return why
            time.sleep(TICK_S)

    def watch(self) -> str:
        """Watch from wherever an earlier life was, up to the reason to restore."""
        state = self.status["state"]
        if state == "stopping":
            return "stopping the neighbour was interrupted"
        if state == "new":
            if self.is_gone():
                return "the container is gone"
            self.look_first()
            why = self.over() or ("the record of the lease was lost" if self.status["touched"] else None)
            if why:
                return why
            self.arm()
        return self.hold()

    def run(self) -> int:
        """Return the exit code: 0 retired, 1 to be started again, 3 refused before anything was stopped."""
        state = self.resume()
        self.status["watcher_starts"] += 1
        if state != "new":
            self.note(f"the watcher was started again ({state})")
        if self.terms.get("restore_only"):
            self.status["touched"] = True  # it is to be up, whoever stopped it
            if state in (
                "restored",
                "refused",
            ):  # an earlier watcher held that it was, and it is asked for again
                self.status.update(state="new", reason=None, ended_utc=None, policy_restored=None)
        trouble = ""
        while True:
            try:
                if self.status["state"] not in ("restored", "refused"):
                    resumed = self.status["state"] == "restoring"
                    self.restore(str(self.status["reason"]) if resumed else self.watch())
                    self.status["state"] = "restored"
                self.retire(self.status["state"])
                return 3 if self.status["state"] == "refused" else 0
            except Refused as refusal:
                self.note(f"refused: {refusal}", reason=str(refusal), state="refused")
            except (DockerError, OSError) as error:
                if self.told_to_end and isinstance(error, DockerError) and error.code is None:
                    say("Docker is going down, or coming up, and has us stopped; it starts us again")
                    return 1
                if str(error) != trouble:
                    trouble = str(error)
                    self.note(f"trying again after: {trouble}")
                time.sleep(1.0)


def main() -> int:
    """Run the watcher on the terms in `AUDITION_LEASE`."""
    watcher = Watcher(json.loads(os.environ["AUDITION_LEASE"]))

    def end(_signal: int, _frame: object) -> None:
        watcher.told_to_end = True

    signal.signal(signal.SIGTERM, end)
    return watcher.run()


if __name__ == "__main__":
    sys.exit(main())
