-- Rows of one series by their number, from one to another; oldest first.
SELECT DISTINCT
  detectionperiodstarttime AS time,
  measure,
  aggregatedmeasurevalue AS value,
  expectedvalue AS expected,
  expectedlower AS lower,
  expectedupper AS upper,
  anomalyscore AS score,
  anomalydecision AS decision,
  processeddatapoints AS point,
  resultid AS result_id
FROM results
WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
  AND processeddatapoints BETWEEN :first_point AND :last_point
ORDER BY point, time, result_id
