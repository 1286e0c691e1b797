"""The checks of `sesame doctor`: each tests a dependency, and names a remedy.

A check is a name and a callable that returns a `CheckResult`, or raises: a `SesameError` becomes a failed
one, with its message and remedy. Checks use what the application would use, and change nothing that it reads.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from functools import partial

from pipeline.errors import Misconfigured
from schemas.language import gettext, ngettext
from sesame.app.doctor import work
from sesame.app.doctor.findings import Check, CheckResult, examine, fail, ok, warn
from sesame.app.lazy import lazily
from sesame.settings import Settings

with lazily():
    import sqlalchemy

    from consumers.registry import esi
    from consumers.registry.erasure import privacy_key
    from consumers.webhooks import signatures
    from pipeline import vault
    from pipeline.db import database as store
    from pipeline.db import migrate
    from producers.registrar.pegase import client as pegase_client
    from producers.registrar.pegase import passes
    from schemas import catalogue
    from sesame.acts import life
    from sesame.app import wiring
    from sesame.app.doctor import second_opinion
    from sesame.login import outcome as login_outcome
    from sesame.operations.privacy import receipts
    from sesame.operations.questions.restored import questions
    from sesame.web.kit import assets
    from sesame.web.students import portal_context

_FREE_BYTES_MIN = 500_000_000
_POSTGRESQL_MIN = 140_000
_FULL_BYTES = 16_000_000  # below this SQLite's next growth of a file or of its journal may fail


def checks_for(settings: Settings) -> list[Check]:
    """Return the checks: each builds on the dependencies of those before it."""
    erases = settings.lifecycle.erase or settings.privacy_key_file.exists()
    return [
        Check("disk", lambda: _disk(settings)),
        Check("vault", lambda: _vault(settings)),
        *([Check("privacy", lambda: _privacy(settings))] if erases else []),
        Check("store", lambda: _store(settings)),
        Check("quarantine", lambda: work.quarantine(settings)),
        Check("processes", lambda: work.processes(settings)),
        Check("retries", lambda: work.retries(settings)),
        Check("log", lambda: _kafka(settings) if settings.log.kind == "kafka" else _embedded_log(settings)),
        *([Check("pegase", lambda: _pegase(settings))] if settings.pegase.is_set else []),
        *(Check(target, partial(_target, settings, target)) for target in settings.targets),
        *([Check("esi", lambda: _esi(settings))] if settings.esi_rules is not None else []),
        *([Check("cas", partial(_cas, settings))] if settings.cas.server_url is not None else []),
        *([Check("webhooks", lambda: _webhooks(settings))] if settings.webhooks.receivers else []),
        *([Check("portal", lambda: _portal(settings))] if settings.has_portal else []),
    ]


def _disk(settings: Settings) -> CheckResult:
    folder = settings.data_dir
    if not folder.is_dir():
        return fail(
            gettext("the folder {folder} does not exist", folder=folder),
            gettext(
                "Create it for the user that runs Sésame: {command}",
                command=f"install -d -m 0700 -o sesame {folder}",
            ),
        )
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return fail(
            gettext("the file system of {folder} is read-only", folder=folder),
            gettext("Look in the kernel's log why, and mount it writable."),
        )
    if not os.access(folder, os.W_OK):
        return fail(
            gettext("the folder {folder} is not writable", folder=folder),
            gettext("chown it to the user that runs Sésame: {path}", path=folder),
        )
    free = shutil.disk_usage(folder).free
    if free < _FULL_BYTES:
        return fail(
            gettext("the disk of {folder} is full: {free} MB free", folder=folder, free=free // 10**6),
            gettext("Make room; work goes on by itself, nothing is lost."),
        )
    if free < _FREE_BYTES_MIN:
        return warn(
            gettext("{folder} has {free} MB free", folder=folder, free=free // 10**6),
            gettext("Make room before the disk is full."),
        )
    return ok(gettext("{folder} is writable, {free} GB free", folder=folder, free=free // 10**9))


def _vault(settings: Settings) -> CheckResult:
    keys = vault.read_keys(settings.vault_key_file)
    return ok(
        ngettext("{path} holds {n} key", "{path} holds {n} keys", len(keys), path=settings.vault_key_file)
    )


def _webhooks(settings: Settings) -> CheckResult:
    """Check that webhooks can be signed; no receiver is called."""
    receivers = settings.webhooks.receivers
    for name, receiver in receivers.items():
        try:
            for key in receiver.keys(name):
                signatures.private_key(key) if receiver.form == "set" else signatures.sign(key, "", 0, b"")
        except signatures.WebhookKeyUnusable as error:
            return fail(
                gettext("{name}: {value}", name=name, value=error),
                gettext("Write the keys anew into {path}.", path=receiver.key_file),
            )
    return ok(
        ngettext("{n} receiver, whose keys can sign", "{n} receivers, whose keys can sign", len(receivers))
    )


def _privacy(settings: Settings) -> CheckResult:
    key = receipts.site_key(privacy_key.PrivacyKey.read(settings.privacy_key_file))
    return ok(gettext("{path} signs as {key}", path=settings.privacy_key_file, key=key.fingerprint))


def _store(settings: Settings) -> CheckResult:
    url = settings.store_url.get_secret_value()
    path = settings.store_file
    if path is not None and not path.exists():
        # Connecting would create it: the doctor changes nothing.
        return fail(
            gettext("the database {path} does not exist", path=path), gettext("Run `sesame migrate` once.")
        )
    with closing(store.Database(url)) as database:
        wrong = None if database.is_sqlite else _server(database)
        if wrong is not None:
            return wrong
        revision = migrate.check(database)
        unsure = _restored(database)
    where = database.engine.url.render_as_string(hide_password=True)
    return unsure or ok(gettext("{place} is at revision {revision}", place=where, revision=revision))


def _restored(database: store.Database) -> CheckResult | None:
    """The work that a restore has left, if any."""
    with database.read() as connection:
        found = life.look(connection)
        asked = len(questions.in_states(connection, [questions.RestoreAnswer.OPEN]))
    if found is not None and found.shut_why:
        return fail(
            gettext("nothing is written to any target: {why}", why=found.shut_why),
            gettext("Run `sesame restored check`, then start the processes that have stopped."),
        )
    if asked:
        return warn(
            gettext("shut since a restore, until somebody answers: {n}", n=asked),
            gettext("Answer for each of them: sesame restored list."),
        )
    return None


def _server(database: store.Database) -> CheckResult | None:
    """The fault of a PostgreSQL server, if any."""
    with database.read() as connection:
        version, encoding, standby, read_only = connection.execute(
            sqlalchemy.text(
                "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
                " pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool"
            )
        ).one()
    if version < _POSTGRESQL_MIN:
        return fail(
            gettext("PostgreSQL {version} is too old", version=version // 10_000),
            gettext("Use version 14 or newer."),
        )
    if encoding != "UTF8":
        return fail(
            gettext("the database's encoding is {encoding}", encoding=encoding),
            gettext("Create it anew with ENCODING 'UTF8'."),
        )
    if standby or read_only:
        what = gettext("the database is a standby") if standby else gettext("the database is set read-only")
        return fail(what, gettext("Let store.url name the primary."), down=True)
    return None


def _kafka(settings: Settings) -> CheckResult:
    """Connect as the settings say, and look at each topic."""
    with closing(wiring.build(settings)) as application:
        found = {topic: len(application.log.end_offsets(topic)) for topic in catalogue.TOPICS}
    wanted = settings.log.partitions
    other = [
        gettext("{topic} has {n}", topic=topic, n=count) for topic, count in found.items() if count != wanted
    ]
    if other:
        return fail(
            gettext("log.partitions is {n}, but {others}", n=wanted, others=", ".join(other)),
            gettext(
                "Set log.partitions to what the topics have: another number would break the order of events."
            ),
        )
    servers = ", ".join(settings.log.servers)
    return ok(gettext("Kafka at {servers} has all {n} topics", servers=servers, n=len(found)))


def _embedded_log(settings: Settings) -> CheckResult:
    path = settings.log_path
    if not path.exists():
        folder = path.parent
        if not os.access(folder, os.W_OK):
            return fail(
                gettext("the folder {folder} of the event log is not writable", folder=folder),
                gettext("chown it to the user that runs Sésame: {path}", path=folder),
            )
        return ok(gettext("{path} will be created by `sesame run`", path=path))
    if not os.access(path, os.W_OK):
        return fail(
            gettext("the event log {path} is not writable", path=path),
            gettext("chown it to the user that runs Sésame: {path}", path=path),
        )
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".doctor-"):
        pass  # SQLite writes further files next to the log
    with closing(wiring.build(settings)) as application:
        application.log.end_offsets(catalogue.ENROLMENTS)  # a damaged file, or another number of partitions
    return ok(gettext("{path} is writable, {size} MB", path=path, size=path.stat().st_size // 10**6))


def _portal(settings: Settings) -> CheckResult:
    """Check what only the students' pages need: their files and the mail server."""
    portal = settings.portal
    for path in (portal.tls_cert_file, portal.tls_key_file, portal.charter_file, portal.charter_en_file):
        if path is not None and not os.access(path, os.R_OK):
            return fail(
                gettext("{path} cannot be read", path=path),
                gettext("Make it readable for the user that runs Sésame: {path}", path=path),
            )
    if portal.logo_file is not None:
        try:
            assets.read_logo(portal.logo_file)
        except assets.LogoUnusable as error:
            return fail(str(error), error.remedy)
    accents = portal_context.smtp_of(settings).probe()
    if (gateway := portal_context.sms_of(settings)) is not None:
        gateway.probe()
    said = {"url": portal.public_url, "host": settings.smtp.host, "port": settings.smtp.port}
    found = (
        gettext("{url}; the mail server {host} port {port} takes mail", **said)
        if accents
        else gettext(
            "{url}; the mail server {host} port {port} takes mail, but none for addresses with accents "
            "before the @",
            **said,
        )
    )
    return ok(found if gateway is None else gettext("{found}; the SMS gateway answers", found=found))


def _pegase(settings: Settings) -> CheckResult:
    """Read one minute of Pégase's flow, and the groups of each period."""
    pegase, found = settings.pegase, 0
    with closing(pegase_client.PegaseClient(pegase.instance)) as client:
        read = passes.read_pass(client, client.clock() - 60)
        for establishment, periods in pegase.periods.items():
            found += sum(len(passes.read_groups(client, establishment, period)) for period in periods)
        if settings.esi_rules is not None:  # whether INEs are provisional
            passes.confirmed_ines(client, pegase.periods, ["sesame-probe"])
    url = pegase.instance().url
    where = gettext("{url}: enrolments can be read, and {n} places in groups", url=url, n=found)
    if read.differences:
        told = ", ".join(sorted(read.differences))
        return warn(
            gettext("{where}; not as the contract says: {differences}", where=where, differences=told),
            gettext("Look whether it matters for you, and report the change of Pégase's API."),
        )
    return ok(where)


def _target(settings: Settings, target: str) -> CheckResult:
    """Exercise the whole path to a target, as its consumer does after an outage.

    No student's object is touched. What the running consumers report is added.
    """
    path = settings.store_file
    if path is not None and not path.exists():
        return fail(gettext("not checked: its consumer needs the database"), gettext("Mend `store` first."))
    with closing(wiring.build(settings)) as application:
        found = examine(Check(target, lambda: _path_to(application, target)))
        return second_opinion.beside(found, settings, application.database, target)


def _path_to(application: wiring.Application, target: str) -> CheckResult:
    with closing(application.handler(target)) as handler:
        handler.probe()
        system = handler.describe().system
    with application.connector(target) as connector:
        edition = connector.edition()
        advice = [(each.text, each.remedy) for each in connector.advice()]
        if application.settings.lifecycle.erase and target not in application.settings.observed:
            try:
                connector.probe_erasing()
            except Misconfigured as error:
                advice.append((str(error), error.remedy))
    system = gettext("{name}, {value}", name=system, value=edition) if edition else system
    if advice:
        return warn("; ".join(text for text, _ in advice), " ".join(remedy for _, remedy in advice))
    if target in application.settings.observed:
        return ok(gettext("{system}: it can be read; it is only observed", system=system))
    return ok(gettext("{system}: the whole path works", system=system))


def _esi(settings: Settings) -> CheckResult:
    """Count the students with an ESI. Without any definitive INE there are none."""
    with closing(wiring.build(settings)) as application, application.database.read() as connection:
        found = esi.figures(connection)
    said = {"minted": found.minted, "without": found.without, "kept": found.kept}
    text = gettext(
        "{minted} students have an ESI, {without} none; {kept} keep that of an earlier INE", **said
    )
    if found.minted or not found.without:
        return ok(text)
    return warn(
        text,
        gettext(
            "Let the registrar's export say which INEs are provisional, or set "
            "directory.federation.provisional_ine; then `sesame replay --consumer registry --all`."
        ),
    )


def _cas(settings: Settings) -> CheckResult:
    """Log in as the service account; without its password, only check the service."""
    probe = wiring.build(settings).cas_probe()
    if probe is None:
        return ok(gettext("no CAS server is used"))
    result = probe.run()
    outcome, text = result.outcome, f"{settings.cas.server_url}: {result.message}"
    if outcome is login_outcome.ProbeOutcome.OK:
        return ok(text)
    if outcome.works or outcome is login_outcome.ProbeOutcome.NOT_TRIED:
        return warn(text, result.remedy)
    return fail(result.message, result.remedy, down=outcome.down)
