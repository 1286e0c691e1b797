from sesame.testing.eventlog.delivery import *
