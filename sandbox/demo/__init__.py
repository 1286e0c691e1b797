"""The demo: from a registrar's file to accounts that work, on this machine.

    python -m sandbox.demo run --students 500 [--json FILE] [--keep]
    python -m sandbox.demo stop

It starts a real slapd, a real Dovecot and the Moodle stand-in on loopback ports, from one temporary folder,
and drives Sésame by its command line only. At the end an independent sweep checks with each server whether
what was announced is true.

Rooms: `machine` (what must be installed), `record` (what is running, and how to end it by proof), `world`
(the servers and the settings), `program` (Sésame's command line), `roll` (what the registrar's file implies),
`credentials` (passwords), `progress` (the live view), `sweep` with `sweep_directory`, `sweep_mail` and
`sweep_moodle` (another pair of eyes), `table` (the numbers at the end), `looks` (commands to look at one
student), `stage` (times), `play` (all of it, in order).
"""
