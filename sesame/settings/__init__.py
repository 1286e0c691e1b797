"""The settings: TOML file, environment and secret files, checked and explained."""

from consumers.directory.settings import DirectorySettings
from consumers.moodle.settings import MoodleSettings
from pipeline.engine.limits import EngineSettings
from pipeline.settings import SecretUnreadable, Section, SettingsError
from sesame.settings.load import find_file, load, named_file
from sesame.settings.login import CasSettings
from sesame.settings.model import Settings
from sesame.settings.portal import PortalSettings
from sesame.settings.rotation import LiveSecret
from sesame.settings.storage import StoreSettings

__all__ = [
    "CasSettings",
    "DirectorySettings",
    "EngineSettings",
    "LiveSecret",
    "MoodleSettings",
    "PortalSettings",
    "SecretUnreadable",
    "Section",
    "Settings",
    "SettingsError",
    "StoreSettings",
    "find_file",
    "load",
    "named_file",
]
