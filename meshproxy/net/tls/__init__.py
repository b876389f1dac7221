"""TLS of our own, on the readiness of sockets and OpenSSL in memory: the same on every loop."""

from meshproxy.net.tls.conn import TlsConn as TlsConn
from meshproxy.net.tls.conn import chosen as chosen
from meshproxy.net.tls.conn import secure as secure
from meshproxy.net.tls.context import Unusable as Unusable
from meshproxy.net.tls.dial import TlsDial as TlsDial
from meshproxy.net.tls.faults import Broken as Broken
from meshproxy.net.tls.handshake import Handshake as Handshake
from meshproxy.net.tls.session import Session as Session
