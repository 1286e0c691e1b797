from sesame.testing.eventlog.order import *
