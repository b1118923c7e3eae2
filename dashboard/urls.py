"""The URL map: each app has its own."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.i18n import set_language

from . import health, palette, views
from .doctor import views as doctor_views
from .metrics import views as metrics_views

admin.site.site_header = admin.site.site_title = "Berth"

dashboard = (
    [
        path("", views.overview, name="overview"),
        path("palette/", palette.palette, name="palette"),
        path("activity/", views.activity, name="activity"),
        path("doctor/", doctor_views.doctor, name="doctor"),
        path("doctor/<str:name>/examine/", doctor_views.examine, name="examine"),
        path("healthz", health.healthz, name="healthz"),
        path("readyz", health.readyz, name="readyz"),
        path("metrics", metrics_views.metrics, name="metrics"),
    ],
    "dashboard",
)

urlpatterns = [
    path("", include(dashboard)),
    path("", include("deployments.urls")),
    path("", include("playground.urls")),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("i18n/setlang/", login_not_required(set_language), name="set_language"),
    path("admin/", admin.site.urls),
]

handler500 = "dashboard.errors.server_error"
