"""The table of routes: one source for every framework."""

from __future__ import annotations

from moonkey_core.flows.routes import Route

ROUTES = (
    Route("sign_in", "/sign-in", ("GET",)),
    Route("send_otp", "/sign-in/otp", ("POST",)),
    Route("verify_otp", "/sign-in/otp/verify", ("GET", "POST")),
    Route("magic", "/sign-in/magic", ("GET", "POST")),
    Route("oauth", "/callback/oauth", ("GET",)),
    Route("session", "/session", ("GET",)),
    Route("sign_out", "/sign-out", ("GET", "POST")),
    Route("sessions", "/sessions", ("GET",)),
    Route("revoke", "/sessions/{session_id}/revoke", ("POST",)),
    Route("revoke_others", "/sessions/revoke-others", ("POST",)),
    Route("step_up", "/step-up", ("GET",)),
    Route("step_up_send_otp", "/step-up/otp", ("POST",)),
    Route("step_up_verify_otp", "/step-up/otp/verify", ("GET", "POST")),
    Route("step_up_totp", "/step-up/totp", ("POST",)),
    Route("style", "/style.css", ("GET",)),
)
"""All routes, ready to be mounted under one path, such as ``/auth``."""
