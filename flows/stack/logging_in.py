"""Asks a Prefect server that wants a login for something it tells nobody else."""

from __future__ import annotations

from pipeline_core.errors import BadInput
from pipeline_core.network.addresses import shown_uri

REFUSED = (401, 403)


def require_login() -> None:
    """Check that the configured Prefect server takes this process's login. Its health page asks for none.

    Raises:
        BadInput: it does not; the message holds no secret.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            url = client.api_url
            client.request("GET", "/admin/version")
    except PrefectHTTPStatusError as error:
        if error.response.status_code in REFUSED:
            raise BadInput(
                f"the Prefect server at {shown_uri(str(url))} refuses this login: set EVENHAND_AUTH to the user:secret "
                "that it was started with"
            ) from None
        raise
