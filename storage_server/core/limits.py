"""Every bound in one place, with its unit and the reason for its size."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

# --- S3 (AWS's published limits unless said) -------------------------------------------------
KEY_BYTES_MAX = 1024
BUCKET_NAME_CHARS_MIN, BUCKET_NAME_CHARS_MAX = 3, 63
PART_NUMBER_MAX = 10_000
PART_BYTES_MIN = 5 * MIB  # every part but the last
PART_BYTES_MAX = 5 * GIB
PUT_BYTES_MAX = 5 * GIB
OBJECT_BYTES_MAX = 50 * TIB  # AWS's limit since December 2025
COPY_BYTES_MAX = 5 * GIB
LIST_PAGE_MAX = 1000
BUCKETS_PAGE_MAX = 10_000
DELETE_KEYS_MAX = 1000
OBJECT_TAGS_MAX = 10
BUCKET_TAGS_MAX = 50
TAG_KEY_CHARS_MAX = 128
TAG_VALUE_CHARS_MAX = 256
USER_METADATA_BYTES_MAX = 2 * KIB
PRESIGN_SECONDS_MAX = 7 * 86_400
CLOCK_SKEW_SECONDS_MAX = 15 * 60
POST_FORM_FIELD_BYTES_MAX = 20 * KIB  # AWS: form data before the file, in all

# --- Requests --------------------------------------------------------------------------------
HEAD_BYTES_MAX = 32 * KIB  # AWS allows 8 KiB of headers; presigned session URLs run to 16 KiB
HEADERS_COUNT_MAX = 200
XML_BYTES_MAX = 2 * MIB  # a 1,000-key DeleteObjects with 1,024-byte keys, escaped, is 1.5 MiB
COMPLETE_XML_BYTES_MAX = 8 * MIB  # 10,000 parts with every checksum member
XML_DEPTH_MAX = 16
XML_ELEMENTS_MAX = 150_000  # 10,000 parts with every checksum member
CHUNK_HEADER_BYTES_MAX = 4 * KIB  # one aws-chunked size line with its signature
TRAILER_BYTES_MAX = 8 * KIB
DRAIN_BYTES_MAX = 1 * MIB  # what an early error reads of a body before it closes instead

# --- Engine ----------------------------------------------------------------------------------
INLINE_BYTES_MAX = 512  # in the metadata row: beyond that twice the bytes are written
SEGMENT_BODY_BYTES_MAX = 1 * MIB  # appended to a segment; above it a file costs less
SEGMENT_BYTES_MAX = 64 * MIB
SEGMENT_STEP_BYTES = 1 * MIB
CHUNK_BYTES = 64 * KIB  # what one integrity tag covers
EXTENTS_IN_RECORD_MAX = 8
ROW_BYTES_HOT_MAX = 2_000  # larger LMDB values take overflow pages of their own
ROW_BYTES_MAX = 64 * KIB
COMMIT_BYTES_MAX = 1 * MIB
GROUP_MEMBERS_MAX = 64
BACKGROUND_ROWS_MAX = 256  # rows a background commit may touch: 2 ms before its flush
FREE_GRACE_US = 10 * 60 * 1_000_000  # between the last reference and the unlink
UPLOAD_RESULT_KEPT_US = 7 * 86_400 * 1_000_000  # a repeated Complete is answered from its result
GRANT_STEP_BYTES_MAX = 64 * MIB  # one round trip to the tenant per 64 MiB written
GRANT_STEP_OBJECTS_MAX = 65_536
GRANT_STEPS_MIN = 64  # a step is at most this part of a limit, so that few buckets don't hoard it
RECALL_BUCKETS_MAX = 1024  # looked at before a write is refused; the next one looks further on
META_MAP_BYTES = 1 * TIB  # address space, not disk
META_READERS_MAX = 1024
SPACE_RESERVE_BYTES = 256 * MIB
SPACE_BALLAST_BYTES = 256 * MIB

assert INLINE_BYTES_MAX < ROW_BYTES_HOT_MAX < ROW_BYTES_MAX < COMMIT_BYTES_MAX
assert SEGMENT_BODY_BYTES_MAX <= SEGMENT_BYTES_MAX
assert CHUNK_BYTES % 4096 == 0
