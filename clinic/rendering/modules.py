"""The allow-list: every Asterisk module this PBX loads, and nothing else.

An advisory in a module that is not here does not concern the clinic. Order matters little: Asterisk resolves the
dependencies that modules declare.
"""

from __future__ import annotations

_CORE = (
    "res_timing_timerfd", "res_sorcery_astdb", "res_sorcery_config", "res_sorcery_memory", "res_sorcery_memory_cache",
    "res_crypto", "res_musiconhold", "res_clioriginate", "res_mutestream", "res_manager_devicestate", "pbx_config",
)  # fmt: skip
_SIP = (
    "res_pjproject", "res_pjsip", "res_pjsip_session", "res_pjsip_pubsub",
    "res_pjsip_outbound_registration", "res_pjsip_outbound_publish",
    "res_pjsip_registrar", "res_pjsip_authenticator_digest", "res_pjsip_outbound_authenticator_digest",
    "res_pjsip_endpoint_identifier_ip", "res_pjsip_endpoint_identifier_user", "res_pjsip_acl", "res_pjsip_caller_id",
    "res_pjsip_dtmf_info", "res_pjsip_exten_state", "res_pjsip_dialog_info_body_generator",
    "res_pjsip_pidf_body_generator", "res_pjsip_logger", "res_pjsip_nat", "res_pjsip_notify", "res_pjsip_refer",
    "res_pjsip_rfc3326", "res_pjsip_sdp_rtp", "res_pjsip_header_funcs", "res_pjsip_path", "res_pjsip_empty_info",
    "chan_pjsip", "res_rtp_asterisk", "res_srtp",
)  # fmt: skip
_CALLS = (
    "app_dial", "app_queue", "app_playback", "app_echo", "app_mixmonitor", "app_cdr", "app_celgenuserevent",
    "app_db", "app_directed_pickup", "app_originate", "app_read", "app_softhangup", "app_stack",
    "app_exec", "app_verbose", "app_senddtmf", "res_parking",
    "bridge_builtin_features",
    "bridge_builtin_interval_features", "bridge_holding", "bridge_native_rtp", "bridge_simple", "bridge_softmix",
    "chan_bridge_media",
)  # fmt: skip
_FUNCTIONS = (
    "func_callerid", "func_cdr", "func_channel", "func_cut", "func_db", "func_devstate", "func_dialplan", "func_global",
    "func_groupcount", "func_hangupcause", "func_lock", "func_logic", "func_math", "func_pjsip_contact",
    "func_pjsip_endpoint", "func_strings", "func_timeout", "func_sprintf",
)  # fmt: skip
_RECORDS = ("res_cdrel_custom", "cdr_custom", "cel_custom", "res_security_log")
_MEDIA = (
    "codec_alaw", "codec_ulaw", "codec_g722", "codec_gsm", "codec_resample", "codec_a_mu", "format_pcm", "format_wav",
    "format_wav_gsm", "format_gsm", "format_sln",
)  # fmt: skip

MODULES: tuple[str, ...] = _CORE + _SIP + _CALLS + _FUNCTIONS + _RECORDS + _MEDIA
