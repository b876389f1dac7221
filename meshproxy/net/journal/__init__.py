"""A durable queue of records on disk that many processes may share; see `journal`."""

from meshproxy.net.aside import Aside as Aside
from meshproxy.net.journal.journal import Journal as Journal
from meshproxy.net.journal.journal import Ticket as Ticket
