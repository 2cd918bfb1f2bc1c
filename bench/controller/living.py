"""A task of a playbook that is gone does nothing more.

Ansible forks a process for each task and puts it into a session of its own, so whoever kills the playbook, by its
process group even, leaves that one at work: it would go on sending the job, begin it and follow it to its end.
"""

import multiprocessing

from bench.serving.parent import die_with_parent


def end_with_playbook() -> None:
    """Have this process killed as soon as the playbook that forked it is gone, or now if it is gone already.

    Which one that was, multiprocessing noted before the fork; asked afterwards, a playbook that was killed in
    between would be mistaken for whoever adopts orphans.
    """
    playbook = multiprocessing.parent_process()
    if playbook is not None and playbook.pid is not None:
        die_with_parent(playbook.pid)
