"""Fails on purpose, to show what a caller sees: type, message and stack of the exception, and HTTP 500.

Payload: {"card": "4000000000000002", "amount_cents": 1200}
Cards that end in 0002 are declined, as with the test cards of payment services.
"""

import logging


class CardDeclined(Exception):
    pass


def handler(payload, zmesh):
    if missing := {"card", "amount_cents"} - payload.keys():
        return zmesh.response({"error": f"missing in the payload: {', '.join(sorted(missing))}"}, status=422)
    card, amount = payload["card"], payload["amount_cents"]
    logging.info("charging %s cents to a card that ends in %s", amount, card[-4:])
    authorise(card)
    return {"charged_cents": amount}


def authorise(card):
    if card.endswith("0002"):
        logging.error("the bank said no")
        raise CardDeclined("the card was declined")
