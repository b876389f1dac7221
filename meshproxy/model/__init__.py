"""What an operator can say, as data."""

from __future__ import annotations

from meshproxy.model.address import Address as Address
from meshproxy.model.address import Named as Named
from meshproxy.model.combine import Document as Document
from meshproxy.model.combine import combine as combine
from meshproxy.model.compare import diff as diff
from meshproxy.model.compare import restore as restore
from meshproxy.model.compare import version as version
from meshproxy.model.config import IDLE as IDLE
from meshproxy.model.config import PROCESS as PROCESS
from meshproxy.model.config import Admin as Admin
from meshproxy.model.config import Breaker as Breaker
from meshproxy.model.config import Chain as Chain
from meshproxy.model.config import Cluster as Cluster
from meshproxy.model.config import Config as Config
from meshproxy.model.config import Dns as Dns
from meshproxy.model.config import Drain as Drain
from meshproxy.model.config import Endpoint as Endpoint
from meshproxy.model.config import Listener as Listener
from meshproxy.model.config import Match as Match
from meshproxy.model.config import Node as Node
from meshproxy.model.config import Pool as Pool
from meshproxy.model.config import ProxyProtocol as ProxyProtocol
from meshproxy.model.config import State as State
from meshproxy.model.config import Status as Status
from meshproxy.model.config import Timeouts as Timeouts
from meshproxy.model.http import Http as Http
from meshproxy.model.http import PathRules as PathRules
from meshproxy.model.routes import Extension as Extension
from meshproxy.model.routes import HeaderEdit as HeaderEdit
from meshproxy.model.routes import Redirect as Redirect
from meshproxy.model.routes import Reply as Reply
from meshproxy.model.routes import RequestRate as RequestRate
from meshproxy.model.routes import Rewrite as Rewrite
from meshproxy.model.routes import RouteTable as RouteTable
from meshproxy.model.routes import Rule as Rule
from meshproxy.schema import decode as decode
from meshproxy.schema import encode as encode
from meshproxy.schema.kinds import Secret as Secret
