"""Where lines go: a sink takes a line at once and without fail, and sends it when it can; see `waiting`."""

from meshproxy.net.sinks.descriptor import FileSink as FileSink
from meshproxy.net.sinks.descriptor import StreamSink as StreamSink
from meshproxy.net.sinks.syslog import SyslogSink as SyslogSink
from meshproxy.net.sinks.waiting import Account as Account
from meshproxy.net.sinks.waiting import Sink as Sink
from meshproxy.net.sinks.waiting import emptied as emptied
