"""Addresses of deliveries, included by :mod:`deployments.urls`."""

from __future__ import annotations

from django.urls import path

from .views import deliveries

urlpatterns = [
    path("deliveries/", deliveries.delivery_list, name="deliveries"),
    path("deliveries/<int:delivery_id>/", deliveries.delivery, name="delivery"),
    path("deliveries/<int:delivery_id>/close/", deliveries.close, name="delivery_close"),
    path("deliveries/<int:delivery_id>/reopen/", deliveries.reopen, name="delivery_reopen"),
    path("deliveries/<int:delivery_id>/delete/", deliveries.delete, name="delivery_delete"),
]
