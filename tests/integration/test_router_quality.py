"""How well the router reads questions it was not shown: floors on a set of the project's own (CC0).

A small set cannot rank methods; it shows that something broke. CLINC150 and BANKING77 figures are in the docstrings of
`routing.calibration` and `gateway.embedding.build`.
"""

from __future__ import annotations

import pytest

from gateway.embedding.minilm import MiniLM
from routing.build import fitted
from routing.evaluate import RouterReport, predict, report
from routing.examples import Examples

TRAIN = {
    "cancel_order": "cancel my order|I don't want the parcel any more|please stop the order I placed|undo my purchase|I ordered by mistake, call it off|can I withdraw my order|abort the purchase from this morning|I changed my mind about what I bought",
    "track_parcel": "where is my parcel|track my package|has my order shipped yet|when will the delivery arrive|the courier has not come|what is the status of my shipment|is my package on its way|delivery is late",
    "return_item": "I want to send this back|how do I return a shirt|the shoes do not fit, can I return them|return label please|what is your return policy|I'd like to give the item back|where do I drop off a return|exchange it for another size",
    "payment_failed": "my card was declined|payment did not go through|I cannot pay at checkout|error when paying with paypal|the transaction failed|why is my credit card rejected|checkout refuses my visa|it says payment unsuccessful",
    "change_address": "I moved, update my address|ship it to another address|change the delivery address|wrong postcode on my order|I need to correct my street name|send the parcel to my office instead|edit shipping details|my address is out of date",
    "gift_card": "how do I use a gift card|redeem my voucher|the gift code does not work|check gift card balance|buy a gift card for a friend|my voucher has expired|where do I enter the coupon|apply store credit",
}
TEST = {
    "cancel_order": "call off what I ordered yesterday|can you stop order 1182|I no longer need the thing I bought, cancel please|revoke my purchase",
    "track_parcel": "did you ship my stuff|where's the package I'm waiting for|my delivery is three days late|tell me how far my shipment is",
    "return_item": "these trousers are too small and I'd like to send them back|how can I give back a broken lamp|need a label to return my order|swap for a larger size",
    "payment_failed": "checkout keeps rejecting my mastercard|I tried to pay but it failed|paypal error at checkout|my bank card is not accepted",
    "change_address": "I have a new home, please use the new street|deliver to my work address instead|fix the zip code of my order|update where you ship to",
    "gift_card": "my voucher code is not accepted|how much is left on my gift card|pay with a gift code|can I get a voucher for my sister",
}
OUTSIDE = "what's the capital of Peru|write a haiku about autumn|how tall is mount everest|translate good night to Spanish|who painted the Mona Lisa|solve 3x + 4 = 19|recommend a film for tonight|what is a black hole|how do I cook rice|tell me about the French revolution|play some jazz|what's the weather like|my cat is ill, what now|best way to learn piano|summarise the plot of Hamlet|is there life on Mars|set an alarm for seven|what does photosynthesis do|sort a list in python|how do vaccines work"


def rows(table: dict[str, str]) -> tuple[list[str], list[str]]:
    pairs = [(text, intent) for intent, texts in table.items() for text in texts.split("|")]
    return [text for text, _ in pairs], [intent for _, intent in pairs]


@pytest.fixture(scope="module", params=[3, 8], ids=["3 examples", "8 examples"])
def told(minilm: MiniLM, request: pytest.FixtureRequest) -> RouterReport:
    train = {intent: "|".join(texts.split("|")[: request.param]) for intent, texts in TRAIN.items()}
    head = fitted(Examples(*rows(train), []), minilm)
    texts, truth = rows(TEST)
    outside = OUTSIDE.split("|")
    results = predict(head, minilm.encode, [*texts, *outside])
    return report(head, results, [*truth, *["oos"] * len(outside)])


def test_it_finds_the_intent(told: RouterReport) -> None:
    """Of 24 unseen questions about six intents at least 20 are read right."""
    assert told.accuracy.hits >= 20


def test_it_tells_what_is_about_something_else(told: RouterReport) -> None:
    """In-scope questions score above others: AUROC at least 0.97."""
    assert told.auroc is not None
    assert told.auroc[0] >= 0.97


def test_the_default_threshold_is_usable(told: RouterReport) -> None:
    """At 0.5, at least 16 of 20 other questions are refused and at most 4 of 24 good ones."""
    assert told.oos_recall.hits >= 16
    assert told.false_refusals.hits <= 4
