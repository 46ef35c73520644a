"""Makes `twistd a3s-gateway` known; read by Twisted, which also owns this folder's package."""

from twisted.application.service import ServiceMaker

a3s_gateway = ServiceMaker(
    "a3s-gateway",
    "a3s_gateway.tap",
    "API gateway and reverse proxy, configured in HCL.",
    "a3s-gateway",
)
