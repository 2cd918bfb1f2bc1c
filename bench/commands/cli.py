"""The command `audition`: arguments in, one call, words out. Heavy imports wait until a command needs them."""

import argparse
import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import AuditionError, BadInput

_REPO = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: docs/variables.md has the table of them."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # the shell asks what could follow, and reads the answer itself

        argcomplete.autocomplete(parser)
    words = sys.argv[1:] if argv is None else list(argv)
    if not words:
        parser.print_help()
        return 0
    args = parser.parse_args(words)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except AuditionError as error:
        print(f"audition: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("audition: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        # Else Python complains once more when it closes the stream at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _nobody_reads() -> bool:
    """Return whether stdout is a pipe whose reader left, as `head` does when it has seen enough."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))


def _say(text: str) -> None:
    print(text, flush=True)


def _say_beside(text: str) -> None:
    """Say what is no part of the answer."""
    print(text, file=sys.stderr, flush=True)


def _say_json(facts: Any) -> None:
    _say(json.dumps(facts, indent=2, ensure_ascii=False))


def _runs_dir(args: argparse.Namespace) -> Path:
    return args.runs_dir or _REPO / "runs"


def _run(args: argparse.Namespace, word: str | None = None) -> Path:
    from bench.commands.runs import find_run

    narrow = {name: getattr(args, name, None) for name in ("of_host", "of_model")}
    found = find_run(word or args.run, _runs_dir(args), host=narrow["of_host"], model=narrow["of_model"])
    if found.note:
        print(f"audition: {found.note}", file=sys.stderr)
    return found.run.path


def _runs(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from bench.commands.overview import list_runs, spell_runs

    found = list_runs(_runs_dir(args), host=args.of_host, model=args.of_model)
    if args.json:
        _say_json({"schema_version": 1, "runs": [asdict(line) for line in found]})
        return 0
    if not found:
        _say(f"{_runs_dir(args)} has no run yet; `make demo` makes one on this machine.")
        return 0
    for line in spell_runs(found):
        _say(line)
    return 0


def _show(args: argparse.Namespace) -> int:
    from bench.commands.overview import read_run, spell_run
    from bench.controller.run import Run

    run = Run(_run(args))
    if args.json:
        _say_json(read_run(run))
        return 0
    for line in spell_run(run):
        _say(line)
    return 0


def _survey(args: argparse.Namespace) -> int:
    from bench.commands.survey import Options, survey

    options = Options(args.project, args.inventory, args.limit, args.extra, args.runs_dir, quiet=args.quiet)
    return survey(options, _say)


def _rate(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.listening.server import serve
    from bench.listening.sitting import read_seal

    _say_alarms(run_dir)
    from bench.controller.run import Run

    run, seal = Run(run_dir), read_seal(run_dir)
    serve(
        run_dir,
        then=run.typed([f"audition verdict {each}" for each in (seal.runs if seal else [run.run_id])]),
        host=args.host,
        port=args.port,
        open_browser=args.open,
        behind_tls_proxy=args.behind_tls_proxy,
        say=_say,
    )
    return 0


def _say_alarms(run_dir: Path) -> None:
    """Say before anybody is asked to listen what is wrong with the client or a server."""
    from bench.report.objective import read_unnamed_alarms

    for line in read_unnamed_alarms(run_dir):
        _say(f"ALARM: {line}")


def _invite(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.listening.raters import invite

    _say_alarms(run_dir)
    path = invite(run_dir, args.name, channels=args.channel, late=args.late)
    link = f"{args.url.rstrip('/')}{path}"
    if args.json:
        _say_json({"schema_version": 1, "name": args.name, "link": link})
        return 0
    _say(f"{args.name}: {link}")
    return 0


def _withdraw(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.listening import raters

    raters.withdraw(run_dir, args.name, late=args.late)
    _say(raters.notices(run_dir)[-1])
    return 0


def _raters(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.listening import raters

    found = raters.status(run_dir)
    for each in found:
        each["link"] = each["path"] and f"{args.url.rstrip('/')}{each['path']}"
    if args.json:
        _say_json({"schema_version": 1, "raters": found, "notices": raters.notices(run_dir)})
        return 0
    for each in found:
        where = each["link"] or "rated on another copy of this run"
        damage = ", answers damaged" if each["damaged"] else ""
        _say(f"{each['name']}: {each['status']}, {each['rated']} of {each['trials']}{damage}  {where}")
    if not found:
        _say("Nobody was invited; `audition rate` adds the owner.")
    for notice in raters.notices(run_dir):
        _say(f"Note: {notice}")
    return 0


def _ratings_export(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.listening import results

    forms = {".json": results.export_json, ".csv": results.export_csv}
    if args.file.suffix not in forms:
        raise BadInput(f"{args.file}: ratings are exported as .json (which can be imported) or .csv.")
    try:
        forms[args.file.suffix](run_dir, args.file)
    except FileNotFoundError as error:
        raise BadInput(f"{error}; `--tags score` seals them.") from error
    except OSError as error:
        raise BadInput(f"{args.file} cannot be written ({error.strerror}).") from error
    _say(f"written: {args.file}")
    return 0


def _ratings_import(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.listening.results import import_json

    names = import_json(run_dir, args.file, late=args.late)
    _say(f"taken in: {', '.join(names)}" if names else "nothing new in it")
    return 0


def _verdict(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.controller.conclude import decide_run
    from bench.controller.run import Run

    decided = decide_run(Run(run_dir))
    if args.json:
        _say((run_dir / "verdict.json").read_text("utf-8").rstrip())
        return 0
    for line in decided["summary"]:
        _say(line)
    return 0


def _report(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.controller import conclude
    from bench.controller.run import Run

    conclude.decide_run(Run(run_dir))
    if args.json:
        _say((run_dir / conclude.RECORD).read_text("utf-8").rstrip())
        return 0
    if not args.for_sharing:
        _say(str(run_dir / conclude.REPORT))
        return 0
    from bench.commands.sharing import write_without_clips

    _say(str(write_without_clips(run_dir)))
    return 0


def _compare(args: argparse.Namespace) -> int:
    from bench.commands.compare import compare
    from bench.controller.run import Run

    runs = [Run(_run(args, word)) for word in args.runs]
    said = compare(runs, anyway=args.anyway)
    if args.json:
        from bench.commands.overview import read_run

        _say_json({"schema_version": 1, "runs": [read_run(run) for run in runs], "said": said.splitlines()})
        return 0
    _say(said)
    return 0


def _publish(args: argparse.Namespace) -> int:
    run_dir = _run(args)
    from bench.publish import publish
    from bench.publish.pages import read_pages

    report = publish(
        run_dir,
        args.repo or _REPO,
        branch=args.branch,
        remote=args.remote,
        open_pull_request=args.pull_request,
        base=args.base,
        clip_format=args.clip_format,
        pages=read_pages([_page(each) for each in args.page]),
        check=args.check,
    )
    for line in report.lines:
        _say(line)
    return 0


def _page(given: str) -> dict[str, str]:
    path, _, template = given.rpartition("=")
    if not path or not template:
        raise BadInput(f"--page {given}: give PATH=TEMPLATE, as docs/SURVEY.md=survey.")
    return {"path": path, "template": template}


def _selftest(args: argparse.Namespace) -> int:
    from bench.controller.signs import Signs
    from bench.selftest.run import run_selftest

    signs = Signs(None if args.quiet else _say_beside, sys.stderr)
    with signs.during("self-test"):
        report = run_selftest(say=signs.say)
    if args.json:
        _say(report.model_dump_json(indent=2))
    else:
        _say(report.table(failures_only=not args.verbose))
    return 0 if report.ok else 1


def _load(args: argparse.Namespace) -> int:
    from bench.catalog.entry import HttpRun
    from bench.client.dialects import find_dialect
    from bench.commands.load import Load, load

    dialect = args.dialect if args.dialect == "auto" else find_dialect(args.dialect).name
    run = HttpRun.model_validate(
        {
            "kind": "http",
            "dialect": dialect,
            "sample_rate_hz": args.sample_rate_hz,
            "container": args.container,
            "path": args.path,
            "request": _read_object("--request", args.request),
        }
    )
    wanted = Load(
        url=args.url,
        run=run,
        voice=args.voice,
        reference=args.reference,
        transcript=args.transcript,
        cold=args.cold,
        token_env=args.token_env,
        utterances=args.utterances,
        concurrency=args.concurrency,
        rates=args.rate,
        n=args.takes,
        timeout_s=args.timeout,
        json=args.json,
    )
    return load(wanted, _say)


def _try(args: argparse.Namespace) -> int:
    from bench.commands.try_entry import Attempt, try_entry
    from bench.neighbour.spec import NeighbourSpec
    from bench.records.settings import GIB, STATE_DIR

    if args.neighbour and not args.neighbour_url:
        raise BadInput("--neighbour names a container: say in --neighbour-url where its API is.")
    state_dir = Path(args.state_dir or STATE_DIR).absolute()
    neighbour = NeighbourSpec(
        lease_dir=state_dir / "lease",
        container=args.neighbour,
        url=args.neighbour_url,
        mode="parallel" if args.neighbour else "none",
        floor_bytes=int(args.neighbour_floor_gib * GIB) if args.neighbour else 0,
    )
    wanted = Attempt(
        entry=args.entry,
        text=args.text,
        profile=args.profile,
        catalog_dir=args.catalog_dir,
        url=args.url,
        reference=args.reference,
        transcript=args.transcript,
        state_dir=state_dir,
        neighbour=neighbour,
        out=args.out or Path(f"{args.entry}.wav"),
    )
    return try_entry(wanted, _say)


def _pin(args: argparse.Namespace) -> int:
    from bench.commands.pin import Pin, pin_entry

    return pin_entry(Pin(args.entry, args.catalog_dir, args.tag, args.out), _say)


def _read_object(option: str, given: str) -> dict[str, Any]:
    try:
        found = json.loads(given)
    except ValueError as error:
        raise BadInput(f"{option} {given}: not JSON ({error}).") from None
    if not isinstance(found, dict):
        raise BadInput(f"{option} {given}: give a JSON object, as '{{\"speed\": 1.0}}'.")
    return found


def _neighbour(args: argparse.Namespace) -> int:
    from bench.commands.neighbour import neighbour

    return neighbour(
        args.action,
        args.host,
        project=args.project,
        inventory=args.inventory,
        extra=args.extra,
        say=_say,
        say_facts=_say_json if args.json else None,
    )


def _purge(args: argparse.Namespace) -> int:
    from bench.commands.purge import Asking, purge_host, purge_run
    from bench.commands.runs import find_run

    asking = Asking(args.yes, _say)
    try:
        found = find_run(args.what, _runs_dir(args))
    except BadInput:
        return purge_host(
            args.what,
            asking,
            project=args.project,
            inventory=args.inventory,
            extra=args.extra,
            weights=args.weights,
        )
    if found.note:
        _say(found.note)
    return purge_run(found.run, asking)


def _completion(args: argparse.Namespace) -> int:
    try:
        import argcomplete
    except ImportError:
        raise BadInput("completion needs the package argcomplete; `make setup` installs it.") from None

    _say(argcomplete.shellcode(["audition"], shell=args.shell))
    return 0


def _schema(args: argparse.Namespace) -> int:
    from bench.commands.schema import write_schemas

    for path in write_schemas(args.folder):
        _say(str(path))
    return 0


class _Version(argparse.Action):
    """Says the version and ends. argparse's own action wants it beforehand, and git is asked for the commit."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        """Print what `bench.controller.versions` finds."""
        from bench.controller.versions import say_version

        _say(f"{parser.prog} {say_version(_REPO)}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audition",
        description="Decides whether a voice-cloning TTS model may replace the one in service.",
    )
    parser.add_argument("--version", action=_Version, help="say the version and the commit, and exit")
    parser.add_argument("--project", type=Path, default=_REPO, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace], int], text: str, *, run: bool = False
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        _common(sub, command, run=run)
        return sub

    survey = add("survey", _survey, "Every model of the chain, one after another; run again, it goes on.")
    survey.add_argument("-i", "--inventory", action="append", default=[], help="inventory; may be repeated")
    survey.add_argument("-l", "--limit", help="only these hosts")
    _extra(survey)
    survey.add_argument("--runs-dir", type=Path, help="where run directories are kept")
    _quiet(survey)

    listed = add("runs", _runs, "Every run: model, host, how far it is, its age, and what is next.")
    listed.add_argument("--runs-dir", type=Path, help="where run directories are kept")
    _narrow(listed)
    _json(listed)
    _json(add("show", _show, "The figures of one run.", run=True))

    rate = add("rate", _rate, "Serve the rating page until Ctrl-C.", run=True)
    rate.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    rate.add_argument("--port", type=int, default=8770, help="port to listen on (default: %(default)s)")
    rate.add_argument("--open", action="store_true", help="open the page in a browser")
    rate.add_argument("--behind-tls-proxy", action="store_true", help="a TLS proxy stands before HOST")

    invite = add("invite", _invite, "Invite a rater and print the link.", run=True)
    invite.add_argument("name", metavar="NAME")
    invite.add_argument(
        "--url", default="http://127.0.0.1:8770", help="where the page is (default: %(default)s)"
    )
    invite.add_argument(
        "--channel",
        action="append",
        default=[],
        choices=("full", "narrowband", "wideband", "matched"),
        help="a further channel to rate in, beside the rule's; may be repeated",
    )
    _late(invite)
    _json(invite)
    withdraw = add(
        "withdraw", _withdraw, "Take a rater off who will not finish; the verdict says so.", run=True
    )
    withdraw.add_argument("name", metavar="NAME")
    _late(withdraw)
    raters = add("raters", _raters, "Who rates, how far everybody is, and their links.", run=True)
    raters.add_argument(
        "--url", default="http://127.0.0.1:8770", help="where the page is (default: %(default)s)"
    )
    _json(raters)
    ratings = commands.add_parser("ratings", help="Export or import ratings.").add_subparsers(
        required=True, metavar="export|import"
    )
    for name, command, text in (
        ("export", _ratings_export, "Write the finished raters' ratings to FILE.json or FILE.csv."),
        ("import", _ratings_import, "Take in ratings given on another copy of the run."),
    ):
        sub = ratings.add_parser(name, help=text, description=text)
        _common(sub, command, run=True)
        sub.add_argument("file", metavar="FILE", type=Path)
        if name == "import":
            _late(sub)

    _json(add("verdict", _verdict, "Apply the rule, write verdict and report, say the decision.", run=True))
    report = add("report", _report, "Write the report again and print where it is.", run=True)
    report.add_argument("--for-sharing", action="store_true", help="without any clip")
    _json(report)
    compare = add("compare", _compare, "Latency, memory and ratings of several runs beside each other.")
    compare.add_argument("runs", nargs="+", metavar="RUN", help="run id, path or `latest`")
    compare.add_argument("--anyway", action="store_true", help="even if they did not measure the same thing")
    compare.add_argument("--runs-dir", type=Path, help="where run directories are kept")
    _json(compare)
    publish = add(
        "publish", _publish, "Put clips and verdict on a branch; push and propose it if asked.", run=True
    )
    publish.add_argument(
        "--repo", type=Path, help="git repository that gets the branch (default: the checkout)"
    )
    publish.add_argument("--branch", help="name of the branch (default: MODEL-bench-UTC)")
    publish.add_argument("--remote", help="where to push; without it nothing leaves the machine")
    publish.add_argument("--pull-request", action="store_true", help="open one with gh, or say how")
    publish.add_argument("--base", help="branch to start from and to propose to")
    publish.add_argument(
        "--page",
        action="append",
        default=[],
        metavar="PATH=TEMPLATE",
        help="of the repository, to bring up to date at a survey's end; may be repeated",
    )
    publish.add_argument(
        "--clip-format", choices=("wav", "flac"), default="wav", help="of the clips (default: %(default)s)"
    )
    publish.add_argument(
        "--check", action="store_true", help="say what would be done; write and send nothing"
    )
    selftest = add("selftest", _selftest, "Does the client measure right on this machine? Under a minute.")
    selftest.add_argument(
        "-v", "--verbose", action="store_true", help="every comparison, not the failures alone"
    )
    _quiet(selftest)
    _json(selftest)

    load = add("load", _load, "A speech server under 1, 2, 4 and 8 askers, and under Poisson arrivals.")
    load.add_argument("url", metavar="URL", help="the server's root, for instance http://panda:8772")
    load.add_argument("--voice", help="a voice that the server has by name")
    load.add_argument("--reference", type=Path, metavar="WAV", help="a clip to clone, in its place")
    load.add_argument("--transcript", metavar="TEXT", help="the clip's words")
    load.add_argument(
        "--cold", action="store_true", help="a reference that the server has never seen, each time"
    )
    load.add_argument("--dialect", default="auto", help="how to ask (default: found out)")
    load.add_argument("--sample-rate-hz", type=int, help="of raw PCM whose rate no header states")
    load.add_argument(
        "--container",
        choices=("raw", "raw_big_endian", "raw_float32", "raw_mulaw", "raw_alaw"),
        help="of samples without a header whose content type hides what they are",
    )
    load.add_argument("--path", help="where the server takes speech, as an entry's run.path")
    load.add_argument(
        "--request", default="{}", metavar="JSON", help="fields of each request, as an entry's run.request"
    )
    load.add_argument("--token-env", metavar="NAME", help="environment variable with the bearer token")
    load.add_argument(
        "--utterances", type=Path, help="a text a line, said in turn (default: the built-in ten)"
    )
    load.add_argument("--concurrency", type=int, nargs="*", default=[1, 2, 4, 8], help="default: %(default)s")
    load.add_argument(
        "--rate",
        type=float,
        nargs="*",
        help="arrivals a second (default: 0.5 and 0.9 of what the above came to)",
    )
    load.add_argument("-n", "--takes", type=int, default=20, help="a level (default: %(default)s)")
    load.add_argument(
        "--timeout", type=float, default=120.0, help="of a take, seconds (default: %(default)s)"
    )
    load.add_argument("--json", type=Path, help="write every take and summary here")

    one = add("try", _try, "One sentence of one model on this machine, without a run: to write its entry.")
    one.add_argument("entry", metavar="ENTRY", help="the model, by its name in the catalog")
    one.add_argument(
        "--text",
        default="This is one sentence, to hear that the model speaks.",
        help="what is said (default: %(default)s)",
    )
    one.add_argument("--profile", default="upstream", help="default: %(default)s")
    one.add_argument("--catalog-dir", type=Path, metavar="DIR", help="a folder of your own entries")
    one.add_argument("--url", help="where somebody else serves it; without it Audition starts it")
    one.add_argument("--reference", type=Path, metavar="WAV", help="a clip to clone, where it has no voice")
    one.add_argument("--transcript", metavar="TEXT", help="the clip's words")
    one.add_argument("--out", type=Path, metavar="WAV", help="where the sentence goes (default: ENTRY.wav)")
    one.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="where venvs, weights and leases are kept (default: /var/lib/audition)",
    )
    one.add_argument(
        "--neighbour",
        metavar="CONTAINER",
        help="the service that must survive: the engine runs beside it, watched",
    )
    one.add_argument("--neighbour-url", metavar="URL", help="its OpenAI API, which proves that it is well")
    one.add_argument(
        "--neighbour-floor-gib", type=float, default=8.0, help="memory that stays free (default: %(default)s)"
    )
    pin = add("pin", _pin, "Look up what an entry leaves null, and write an entry of your own to read over.")
    pin.add_argument("entry", metavar="ENTRY", help="the model, by its name in the catalog")
    pin.add_argument("--tag", help="of the image, in place of the entry's")
    pin.add_argument("--catalog-dir", type=Path, metavar="DIR", help="a folder of your own entries")
    pin.add_argument(
        "--out",
        type=Path,
        default=Path("catalog"),
        metavar="DIR",
        help="folder for the entry (default: %(default)s)",
    )
    neighbour = add("neighbour", _neighbour, "How the neighbour on a host is; take it back.")
    neighbour.add_argument("action", choices=("status", "restore"))
    neighbour.add_argument("host", metavar="HOST")
    neighbour.add_argument(
        "-i", "--inventory", action="append", default=[], help="inventory; may be repeated"
    )
    _extra(neighbour)
    purge = add(
        "purge", _purge, "Remove what is kept on a host, or a run's voice and clips; says what, and asks."
    )
    purge.add_argument(
        "what", metavar="HOST|RUN", help="a run's id, path or `latest`; else a host of the inventory"
    )
    purge.add_argument("--yes", action="store_true", help="do not ask")
    purge.add_argument("--weights", action="store_true", help="of a host, the weights too")
    purge.add_argument("--runs-dir", type=Path, help="where run directories are kept")
    purge.add_argument("-i", "--inventory", action="append", default=[], help="inventory; may be repeated")
    _extra(purge)

    _json(neighbour)
    schema = add("schema", _schema, "Write the JSON Schema of every record into DIR.")
    schema.add_argument("folder", metavar="DIR", type=Path)
    completion = add("completion", _completion, "Print what has your shell complete commands and runs.")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    completion.epilog = (
        'bash and zsh: eval "$(audition completion bash)"; fish: audition completion fish | source'
    )
    return parser


def _common(sub: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int], *, run: bool) -> None:
    sub.set_defaults(command=command)
    if run:
        named = sub.add_argument("run", metavar="RUN", help="run id, path or `latest`")
        named.completer = _complete_runs  # type: ignore[attr-defined]  # argcomplete's own word for it
        sub.add_argument("--runs-dir", type=Path, help="where run directories are kept")
        _narrow(sub, "--of-host" if sub.prog.endswith(" rate") else "--host")


def _complete_runs(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return what a RUN may be; the names of the parameters are argcomplete's."""
    found = (parsed_args.runs_dir or _REPO / "runs").glob("*/manifest.json")
    return ["latest", *sorted(path.parent.name for path in found if path.parent.name != "latest")]


def _narrow(sub: argparse.ArgumentParser, host_option: str = "--host") -> None:
    """Add what narrows `latest`; `rate` has a --host of its own, to listen on."""
    for option, name in ((host_option, "host"), ("--model", "model")):
        sub.add_argument(
            option, dest=f"of_{name}", metavar=name.upper(), help=f"with `latest`: of this {name}"
        )


def _json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="the facts as JSON, for programs")


def _quiet(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("-q", "--quiet", action="store_true", help="nothing of the work, what it came to alone")


def _late(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--late",
        action="store_true",
        help="even when a rater has finished; the verdict will say that it was so",
    )


def _extra(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "-e",
        "--extra-vars",
        dest="extra",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a variable, as for ansible-playbook; may be repeated",
    )


if __name__ == "__main__":
    sys.exit(main())
