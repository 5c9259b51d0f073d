"""All texts of the ready-made pages, in English, each once.

An app translates them by ``SignInSettings.translate``.
``{name}`` in a text stands for a value of the page's context.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from moonkey_core._repeated_log import log_repeated

__all__ = ["TEXTS", "Translate", "text_of", "texts_for"]

Translate = Callable[[str], str]
"""Returns the translation of an English text, such as ``gettext``. ``{name}`` in it has to stay."""

_CODE = {
    "code": "Code",
    "code_wrong": "That code is wrong or too old.",
    "code_unclear": "That did not work, and the code is not the reason: it may still be valid. Try again later, "
    "or ask for help.",
    "code_malformed": "That is not a code. A code has digits only, such as 123456.",
    "limited": "Too many codes were tried lately from where you are, so this one was not tried. Wait a few "
    "minutes, then try again.",
    "one_try_left": "You have one try left.",
    "tries_left": "You have {tries_left} tries left.",
    "enter_code": "Enter the code",
    "used_up": "Too many tries",
    "used_up_detail": "This code cannot be tried any more. Ask for a new one.",
    "send_new_code": "Send a new code",
}

_SENT = {
    "code_lives": "It is valid for {code_minutes} minutes.",
    "code_lives_a_minute": "It is valid for a minute.",
}

TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "all": {
            "error_in_title": "Error:",
            "back_to_site": "Back to the site",
            "sign_in": "Sign in",
            "sign_out": "Sign out",
            "your_devices": "Your devices",
            "go_on": "Continue",
            "try_again": "Try again",
        },
        "sign_in": {
            "intro": "We send you a code. You need no password.",
            "signed_in": "You are signed in already.",
            "another_account": "To use another account, sign in below.",
            "address": "E-mail address or phone number",
            "email": "E-mail address",
            "phone": "Phone number",
            "email_malformed": "That is not an e-mail address.",
            "phone_malformed": "That is not a phone number. A phone number begins with its country code, such "
            "as +49 or +1.",
            "address_malformed": "That is neither an e-mail address nor a phone number. A phone number begins "
            "with its country code, such as +49 or +1.",
            "remember_me": "Keep me signed in on this device",
            "send_code": "Send the code",
        },
        "verify_otp": {
            **_CODE,
            **_SENT,
            "code_sent": "If {address} can be used to sign in, a code is on its way.",
            "another_address": "Use another address",
        },
        "magic": {
            "ready": "Your link is ready. It works once.",
            "account": "It signs you in as {address}.",
            "account_unknown": "This link does not say which account it opens. Use it only if you asked for it.",
            "signed_in": "You are signed in already. If this link is for another account, going on signs you "
            "out of the present one.",
            "unavailable": "The service behind the sign-in does not answer at the moment. Your link may still be "
            "valid: try again in a moment.",
            "not_yours": "Did you not ask for this link? Then close this page, and nothing happens.",
        },
        "sign_out": {
            "question": "Do you want to sign out on this device?",
        },
        "signed_out": {
            "title": "You are signed out here",
            "detail": "The sign-in service did not answer, so your session may still be active elsewhere. We "
            "go on telling it. To be sure, sign in again later and look at your devices.",
            "elsewhere": "You are signed out of this site. At the service that you sign in with, you may still be "
            "signed in.",
            "pending": "Not every part of this site could be told yet, so a copy of your session may be let in "
            "for some minutes more. We go on telling them.",
        },
        "sessions": {
            "intro": "You are signed in on these devices.",
            "this_device": "This device",
            "ip": "Address",
            "started_at": "Signed in",
            "last_active_at": "Last active",
            "sign_out_device": "Sign out this device",
            "others": "Sign out everywhere else",
            "no_others": "You are signed in nowhere else.",
            "incomplete": "Not all devices could be signed out: the sign-in service did not answer. Signed out: "
            "{ended}. Perhaps still signed in: {failed}. Here they are refused already, and we go on "
            "telling the service.",
            "pending": "Signed out: {ended}. Not every part of this site could be told yet, so a device may be "
            "let in for some minutes more. We go on telling them.",
            "pending_too": "Not every part of this site could be told yet, so a device may be let in for some "
            "minutes more.",
        },
        "step_up": {
            **_CODE,
            "title": "Confirm that it is you",
            "nothing": "What you want to do takes a proof that you cannot give on this page. Sign in again with "
            "another method, or ask for help.",
            "sign_in_again": "Sign in again",
            "fresh": "What you want to do takes a new proof of who you are. You stay signed in.",
            "fresh_minute": "What you want to do takes a new proof of who you are, not older than a minute. You "
            "stay signed in.",
            "fresh_minutes": "What you want to do takes a new proof of who you are, not older than {minutes} "
            "minutes. You stay signed in.",
            "app_code": "Code of your authenticator app",
            "app_code_wrong": "That code is wrong or was used before.",
            "app_used_up": "Too many wrong codes. Wait a few minutes, then try again.",
            "confirm": "Confirm",
            "send_to_email": "Send a code to {email}",
            "send_to_phone": "Send a code by text message to {phone_number}",
        },
        "step_up_verify": {
            **_CODE,
            **_SENT,
            "code_sent": "A code is on its way to {to}.",
            "confirm": "Confirm",
            "another_way": "Use another way",
        },
        "error": {
            "title_400": "That did not work",
            "title_401": "Sign in to continue",
            "title_403": "You may not do that",
            "title_404": "There is no such page",
            "title_413": "That was too long",
            "title_429": "Too many tries",
            "title_500": "Something is wrong on our side",
            "title_503": "Sign-in is not available at the moment",
            "400": "The request could not be understood. Go back and try again.",
            "403": "This account may not do that. Nothing was done.",
            "404": "What you were looking for is not here.",
            "413": "What you sent is longer than this page takes. Nothing was done. Go back and shorten it.",
            "429": "Wait a few minutes, then try again.",
            "500": "The error was logged. It does not help to try again before it is fixed.",
            "503": "The service behind the sign-in does not answer at the moment. You were not signed out. Try "
            "again in a moment.",
            "sign_in_needed": "You are not signed in, or not any more.",
            "title_step_up": "Confirm it is you",
            "step_up": "You are signed in, but that takes a new or stronger proof of who you are.",
            "title_mfa_not_enrolled": "A second factor is needed",
            "mfa_not_enrolled": "You are signed in, but that takes a second factor, and you have set up none yet.",
            "nothing_done": "Nothing was done yet.",
            "send_again_there": "Afterwards you come back to the page with the form. Fill it in, and send it "
            "again.",
            "send_again": "Afterwards go back to the page with the form, and send it again.",
            "cross_site": "Another site has sent you here, so nothing was done.",
            "title_no_code": "Ask for a new code",
            "no_code": "In this browser no code was asked for within the last ten minutes. If you have just "
            "asked for one, then this browser does not keep our cookies: allow cookies for this site, and ask "
            "again.",
            "code_expired": "The code was asked for more than ten minutes ago.",
            "title_link_broken": "This link is not complete",
            "link_broken": "Open the whole link from the message, or ask for a new one.",
            "title_link_refused": "This link no longer works",
            "link_refused": "It was used before, or it is too old. Ask for a new one.",
            "title_link_elsewhere": "Open this link in the other browser",
            "link_elsewhere": "This link works only in the browser in which it was asked for, within an hour. "
            "Open it there, or ask for a new one here.",
            "title_link_unclear": "You could not be signed in",
            "link_unclear": "The link is not the reason: it may still be valid. Open it again later, or ask for "
            "help.",
            "title_oauth": "This sign-in did not work",
            "oauth_state": "In this browser no such sign-in was begun within the last ten minutes, or it was "
            "finished before. Begin again.",
            "oauth_declined": "It was called off, or the other service did not confirm it. You may begin again.",
            "oauth_unclear": "The other service is not the reason. Try again later, or ask for help.",
            "back_to_sign_in": "Back to sign-in",
            "back": "Back",
        },
        "views": {
            "device_on": "{browser} on {system}",
            "device_unknown": "Unknown device",
            "moment": "{day} {month} {year}, {time} {zone}",
            "month_1": "January",
            "month_2": "February",
            "month_3": "March",
            "month_4": "April",
            "month_5": "May",
            "month_6": "June",
            "month_7": "July",
            "month_8": "August",
            "month_9": "September",
            "month_10": "October",
            "month_11": "November",
            "month_12": "December",
        },
    }
)
"""The texts by the name of the page: ``all`` are on every page, ``views`` are words for devices and times."""


def texts_for(template: str, context: Mapping[str, Any], translate: Translate | None) -> dict[str, str]:
    """Return the texts of one page by their names, translated and with the values of its context.

    Args:
        template: The bare name of the page's template.
        context: The page's context.
        translate: The app's translation; ``None`` for English.
    """
    english = {**TEXTS["all"], **TEXTS.get(template, {})}
    return {name: text_of(text, context, translate) for name, text in english.items()}


def text_of(text: str, values: Mapping[str, Any], translate: Translate | None) -> str:
    """Return one text, translated and with its values. Where the translation fails, the text stays English."""
    if translate is not None:
        try:
            found = translate(text)
            if isinstance(found, str) or type(found).__str__ is not object.__str__:  # such as a lazy string
                return str(found).format_map(values)
        except Exception as error:
            log_repeated(
                logging.ERROR,
                "a text of a page could not be translated: %s",
                type(error).__name__,
                extra={"reason": "translation_failed"},
            )
    return text.format_map(_Shown(values))


class _Shown(dict[str, Any]):
    """The values of a page; one that the page does not have is shown as nothing."""

    def __missing__(self, key: str) -> str:
        return ""
