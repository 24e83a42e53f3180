-- Anomalies one by one, newest first, with what was expected and what bears the score.
SELECT DISTINCT
  detectionperiodstarttime AS time,
  detectionperiodendtime AS end_time,
  detectorname AS detector,
  measure,
  timeseriesid AS series,
  :dimensions AS dimensions,
  aggregatedmeasurevalue AS value,
  expectedvalue AS expected,
  expectedlower AS lower,
  expectedupper AS upper,
  anomalyscore AS score,
  anomalydecisionthreshold AS threshold,
  surprise,
  rawscore AS raw_score,
  anomalyconfidencescore AS confidence,
  processeddatapoints AS point,
  nearestneighbour AS neighbour,
  nearestneighbourtime AS neighbour_time,
  attribution,
  attributionhigh AS attribution_high,
  decisionreason AS reason,
  imputed,
  resultid AS result_id
FROM results
WHERE "date" BETWEEN :first_date AND :last_date
  AND detectionperiodstarttime >= :from_time
  AND detectionperiodstarttime < :to_time
  AND (:detector = '' OR detectorname = :detector)
  AND (:series = '' OR timeseriesid = :series)
  AND anomalydecision = 1
ORDER BY time DESC, result_id
LIMIT :rows
