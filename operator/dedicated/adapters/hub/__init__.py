"""
The Hugging Face Hub, or a mirror of it, over its REST API. Its errors end here.

`shared` is what the operator asks: answers that many endpoints share, and the proof of access. Below it `client` knows the calls, `transport` one
request, `gate` what holds requests back, `cache` what is kept, `errors` what an answer means, `account` what a token may do, `token` that it stays
hidden.
"""

from dedicated.adapters.hub.client import HubClient
from dedicated.adapters.hub.errors import Asked, error_of
from dedicated.adapters.hub.shared import Hub
from dedicated.adapters.hub.token import Token, authorization
from dedicated.adapters.hub.transport import USER_AGENT, shown

__all__ = ["USER_AGENT", "Asked", "Hub", "HubClient", "Token", "authorization", "error_of", "shown"]
