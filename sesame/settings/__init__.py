"""The settings: TOML file, environment and secret files, checked as one and explained in plain words."""

from consumers.directory.settings import DirectorySettings
from consumers.mailbox.settings import MailboxSettings
from consumers.moodle.settings import MoodleSettings
from consumers.propagation.settings import PropagationSettings
from consumers.timetable.settings import TimetableSettings
from pipeline.engine import EngineSettings
from pipeline.eventlog.settings import LogSettings
from pipeline.settings import SecretUnreadable, Section, SettingsError
from producers.registrar.settings import RegistrarSettings
from sesame.settings.load import find_file, load
from sesame.settings.login import CasSettings
from sesame.settings.model import Settings
from sesame.settings.portal import PortalSettings, SmtpSettings
from sesame.settings.rotation import LiveSecret
from sesame.settings.runtime import HttpSettings, ObservabilitySettings
from sesame.settings.storage import StoreSettings, VaultSettings
from sesame.settings.support import SupportSettings

__all__ = [
    "CasSettings",
    "DirectorySettings",
    "EngineSettings",
    "HttpSettings",
    "LiveSecret",
    "LogSettings",
    "MailboxSettings",
    "MoodleSettings",
    "ObservabilitySettings",
    "PortalSettings",
    "PropagationSettings",
    "RegistrarSettings",
    "SecretUnreadable",
    "Section",
    "Settings",
    "SettingsError",
    "SmtpSettings",
    "StoreSettings",
    "SupportSettings",
    "TimetableSettings",
    "VaultSettings",
    "find_file",
    "load",
]
