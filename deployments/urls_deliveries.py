"""Addresses of deliveries, included by :mod:`deployments.urls`."""

from __future__ import annotations

from django.urls import path

from .views import deliveries, trials

urlpatterns = [
    path("deliveries/", deliveries.delivery_list, name="deliveries"),
    path("deliveries/<int:delivery_id>/", deliveries.delivery, name="delivery"),
    path("deliveries/<int:delivery_id>/close/", deliveries.close, name="delivery_close"),
    path("deliveries/<int:delivery_id>/reopen/", deliveries.reopen, name="delivery_reopen"),
    path("deliveries/<int:delivery_id>/delete/", deliveries.delete, name="delivery_delete"),
    path("deliveries/<int:delivery_id>/trial/", trials.delivery_trial, name="delivery_trial"),
    path("deliveries/<int:delivery_id>/trial/draft/", trials.trial_draft, name="trial_draft"),
    path("deliveries/<int:delivery_id>/trial/<int:deployment_id>/publish/", trials.trial_publish, name="trial_publish"),
]
