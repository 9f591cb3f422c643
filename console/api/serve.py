"""The process that serves API and pages."""

from __future__ import annotations

import typer

from console.api.actions import KafkaActions
from console.api.app import create_app
from console.api.metrics import ApiMetrics, CountedActions, FeedMetrics, Measured
from console.api.services import wire
from console.api.settings import ApiSettings, OidcSettings
from console.web.floor_feed import FloorFeed
from console.web.site import routers
from sightline import logs
from sightline.metrics import MetricsServer, new_registry
from sightline.settings import KafkaSettings, RegistrySettings, TableSettings

_FIRST_PAGE_SECONDS = 5.0
"""What a start may take until there is a page, undisturbed by what others will need."""


def serve(settings: ApiSettings) -> None:
    """Answer until told to stop; raises SettingsError or PrerequisiteError before anything listens."""
    import uvicorn

    settings.check()
    logs.configure("api")
    kafka = KafkaSettings.load().for_role("operator")
    metrics = new_registry("api", [settings.folder])
    measured = ApiMetrics(metrics)
    services = wire(
        settings,
        OidcSettings.load(),
        kafka=kafka,
        tables=TableSettings.load(),
        registry=RegistrySettings.load(),
        sink=CountedActions(KafkaActions(kafka), measured),
    )
    FeedMetrics(metrics, services.feed)
    app = create_app(services, routers(FloorFeed.of(kafka)))
    if services.setup:
        # to the terminal and nowhere else: the log may be kept by others
        typer.echo(
            f"there is no user yet: `sightline users create-admin NAME`, or open {_address(settings)}/setup with this "
            f"token, which works once and until this process ends: {services.setup.text}"
        )
    services.histories.open_ahead(_FIRST_PAGE_SECONDS)
    with MetricsServer("api", metrics):
        uvicorn.run(
            Measured(app, measured),
            host=settings.host,
            port=settings.port,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
            proxy_headers=settings.behind_proxy,
            server_header=False,
            log_config=None,
            # addresses in a query may name cameras and times: the audit trail has what counts
            access_log=False,
            timeout_graceful_shutdown=5,
        )


def _address(settings: ApiSettings) -> str:
    return f"http{'s' if settings.tls_certificate else ''}://{settings.host}:{settings.port}"
